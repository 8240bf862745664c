"""Answers before the question: registers that the guest reads without entering the monitor.

A device shows them in pages that the guest maps, or in `Shared.answers`, which the host gives. They
hold while nothing moves: every event ends with bringing them up to date, before any interrupt that
tells of it. A queued write moves things once it is taken, so all answers are withdrawn before that.
Until then the host sees that a write waits, and enters the monitor.
"""

from vestige.abi import ANSWERS, Shared
from vestige.devices import DEVICES
from vestige.monitor.core.machine import Machine
from vestige.place import is_present
from vestige.shapes import Showing


def withdraw(shared: Shared) -> None:
    """Before a queued write is taken."""
    for number in range(ANSWERS):
        shared.answers.known[number] = 0


def show(machine: Machine, shared: Shared) -> None:
    """Bring all up to date. The lock is held. Without a disk there, nobody would read them."""
    if machine.shows == 0:
        return
    for row, place in enumerate(DEVICES):
        if place.shows and is_present(place, row, shared.config):
            device: Showing = getattr(machine, place.field)
            device.show(shared.config, shared.answers)
