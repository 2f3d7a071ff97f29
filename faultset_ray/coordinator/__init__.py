"""The one authority of a system: fleets, handles, range map, epochs."""
