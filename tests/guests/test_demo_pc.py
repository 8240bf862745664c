"""What the demo of a PC makes of what its guest prints."""

import hashlib
from pathlib import Path

from examples.demo_pc import driver
from vestige.abi import Board
from vestige.devices import DEVICES
from vestige.machine import acpi
from vestige.machine.config import MachineConfig
from vestige.place import standard

INTERRUPTS = """\
           CPU0       CPU1
  0:        168          3   IO-APIC   2-edge      timer
 14:          0          9   IO-APIC  14-edge      ata_piix
NMI:          7          0   Non-maskable interrupts
"""


def test_interrupts_are_counted_by_their_lines() -> None:
    assert driver.counts(INTERRUPTS) == {"0": 168, "14": 0}


def test_the_table_to_be_found_is_that_of_a_machine_without_floppy_drives(tmp_path: Path) -> None:
    devices = standard(DEVICES, Board.PC) - {"floppy"}
    area = acpi.build(MachineConfig(board=Board.PC, devices=devices))
    start = area.index(b"DSDT")
    size = int.from_bytes(area[start + 4 : start + 8], "little")
    assert driver.dsdt(tmp_path) == hashlib.sha256(area[start : start + size]).hexdigest()
