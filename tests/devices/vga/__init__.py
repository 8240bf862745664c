"""Tests of the VGA."""
