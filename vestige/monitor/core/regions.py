"""Regions: memory of the monitor's that the guest finds where it wants it; the window; the flash;
the gate of bit 20.

A place says which region a device has; its model says where. The host looks whether it may be
there, and where it may not the guest finds nothing.
"""

from vestige.abi import (
    FLASH_NUMBER,
    GATE_CLOSED,
    GATE_NUMBER,
    GATE_OPEN,
    WINDOW_NUMBER,
    Call,
    Config,
    Cpu,
)
from vestige.devices import DEVICES
from vestige.lang.intrinsics import cold
from vestige.lang.types import u32, u64
from vestige.monitor import outside
from vestige.monitor.core.machine import Machine
from vestige.place import is_present
from vestige.shapes import Flash, Gate, Placed, Windowed


@cold
def place_regions(cpu: Cpu, machine: Machine, config: Config) -> None:
    """Have the guest find each where it has put it. The lock is held."""
    for row, place in enumerate(DEVICES):
        if place.pci is not None and place.pci.region is not None:
            number = place.pci.region
            if is_present(place, row, config) and config.regions[number] != 0:
                device: Placed = getattr(machine, place.field)
                address = device.region_address()
                if address != machine.placed[number]:
                    machine.placed[number] = address
                    if map_region(cpu, number, address) != 0:
                        map_region(cpu, number, 0)
        if place.memory is not None and place.memory.is_window:
            owner: Windowed = getattr(machine, place.field)
            if owner.window != machine.window:
                machine.window = owner.window
                map_region(cpu, WINDOW_NUMBER, owner.window)
        if place.flash and is_present(place, row, config):
            flash: Flash = getattr(machine, place.field)
            where = flash.mapped_address()
            if where != machine.flash_mapped:
                machine.flash_mapped = where
                map_region(cpu, FLASH_NUMBER, where)
        if place.gates:
            gate: Gate = getattr(machine, place.field)
            state = GATE_OPEN if gate.a20() else GATE_CLOSED
            if state != machine.gate:
                machine.gate = state
                map_region(cpu, GATE_NUMBER, state)


def map_region(cpu: Cpu, number: u32, address: u32) -> u64:
    """What the host answers: 0, or an errno."""
    cpu.argument[0] = number
    cpu.argument[1] = address
    outside.call(cpu, Call.MAP)
    return cpu.argument[0]
