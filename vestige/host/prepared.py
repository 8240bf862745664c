"""What a run finds out of its sources alone, and so once for all runs: vestige/cli/bundle.py."""

# images.key() by the folder of llvmlite's metadata, in whose name its version is. What is read from
# the sources' own files knows none.
KEYS: dict[str, str] = {}
