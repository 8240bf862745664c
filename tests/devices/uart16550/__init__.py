"""Tests of the UART."""
