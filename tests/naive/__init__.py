"""Slow, plain oracles that share nothing with the code they check."""
