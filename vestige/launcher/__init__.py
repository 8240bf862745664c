"""Guests started from Python, quickly: see docs/launcher.md.

with Launcher() as launcher:
    machine = launcher.start(kernel="vmlinuz", memory="128M", console="guest.log")
    status = machine.wait()
"""

from vestige.launcher.launcher import Launcher, Machine

__all__ = ["Launcher", "Machine"]
