"""The interval timer's own tests, as its developer would write them: they run in the copy."""
