"""Entry points: each ``python -m jobs.x`` and the verb ``faultset x`` are one function."""
