"""Tests of what the viewer's process does."""
