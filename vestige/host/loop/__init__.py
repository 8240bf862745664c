"""A run under way: the run loop, its threads, the monitor's calls, what ends it."""
