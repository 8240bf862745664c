"""The shell: typed Python that runs as an application of firmware, and in CPython."""
