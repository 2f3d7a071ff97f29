"""Which nodes survive: pure decisions on columns, and the servant that holds one range of regions."""
