"""Tests of the 8254."""
