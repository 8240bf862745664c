"""Vestige: a virtual machine monitor for x86 that emulates no device in the host."""

__version__ = "0.1.0"  # pyproject.toml has it from here
