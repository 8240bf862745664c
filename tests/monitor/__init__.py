"""Tests of what runs inside the monitor, in CPython."""
