"""Everything that imports Ray: attaching, the Ray backend, and thin actor classes around the core."""
