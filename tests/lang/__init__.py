"""Tests of the language: types, the compiler, its runtime."""
