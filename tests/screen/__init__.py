"""Tests of what is made of a guest's screen."""
