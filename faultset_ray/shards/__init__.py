"""The shard file: its arithmetic, its bytes, and how it is written, read and gathered."""
