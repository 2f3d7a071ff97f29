"""Lets benchmarks import `peers`, as benchmarks/ratios.py does when it runs as a script."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
