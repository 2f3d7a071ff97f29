"""The substrate: places, servants, tasks and a clock. Knows nothing of survivors or shards."""
