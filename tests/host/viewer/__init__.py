"""Tests of the viewer's process, and of the run's side of it."""
