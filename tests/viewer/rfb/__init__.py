"""Tests of the Remote Framebuffer Protocol."""
