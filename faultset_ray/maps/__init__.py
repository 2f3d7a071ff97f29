"""Pictures of a fleet: which regions are well, on a map of the world."""
