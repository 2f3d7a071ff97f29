"""Compiled functions on primitive arrays: no objects, no logging, no Ray, output given by the caller."""
