"""Tests of the MC146818."""
