"""Tests of the keyboard controller, its keyboard and its mouse."""
