"""The one place that holds the version.

A literal, since code shipped with ``ray job submit --working-dir`` has no distribution metadata.
"""

__version__ = "0.1.0"
