"""Vestige: a virtual machine monitor for x86 that emulates no device in the host."""
