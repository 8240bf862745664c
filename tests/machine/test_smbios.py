"""What SMBIOS tells of a PC: dmidecode is the judge of what a reader makes of it."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.guests.store import unpacked
from tests.machine import images
from vestige.abi import Board
from vestige.bounds import GIB, MIB
from vestige.errors import UsageError
from vestige.machine import smbios
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import BIOS_ENTRY, SMBIOS
from vestige.softhost import packages

DUMP_TABLES = 32  # where dmidecode expects them in a file


@cache
def dmidecode() -> Path:
    return packages.place(unpacked("dmidecode", ["dmidecode"]), "sbin/dmidecode")


def decoded(config: MachineConfig, folder: Path, *, with_bios: bool) -> str:
    """What dmidecode says of a machine."""
    try:
        program = dmidecode()
    except UsageError as error:
        pytest.skip(f"no dmidecode: {error}")
    made = smbios.structures(config, with_bios=with_bios)
    dump = folder / "dump"
    entry = smbios.entry_point(made, DUMP_TABLES)
    dump.write_bytes(entry.ljust(DUMP_TABLES, b"\0") + made.data)
    words = [str(program), "--from-dump", str(dump)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def pc(cpus: int = 1, memory: int = 512 * MIB) -> MachineConfig:
    return MachineConfig(cpus=cpus, memory=memory, board=Board.PC)


def values(text: str, name: str) -> list[str]:
    return [
        line.partition(": ")[2] for line in text.splitlines() if line.strip().startswith(f"{name}:")
    ]


def types(text: str) -> list[int]:
    lines = [line for line in text.splitlines() if line.startswith("Handle ")]
    return [int(line.partition("DMI type ")[2].partition(",")[0]) for line in lines]


def test_dmidecode_finds_a_pc(tmp_path: Path) -> None:
    said = decoded(pc(cpus=2), tmp_path, with_bios=True)
    assert "SMBIOS 2.8 present." in said
    assert types(said) == [0, 1, 3, 4, 4, 16, 17, 19, 32, 127]
    for wrong in ("OUT OF SPEC", "BAD INDEX", "TRUNCATED", "checksum", "Wrong"):
        assert wrong not in said
    assert values(said, "Vendor") == ["Vestige"]
    assert values(said, "Product Name") == ["PC"]
    assert values(said, "Socket Designation") == ["CPU 0", "CPU 1"]
    assert values(said, "Status")[:2] == ["Populated, Enabled"] * 2
    assert values(said, "Maximum Capacity") == ["512 MB"]
    assert values(said, "Size") == ["512 MB"]
    assert values(said, "Ending Address") == ["0x0001FFFFFFF"]


@pytest.mark.parametrize(("memory", "size"), [(30 * GIB, "30 GB"), (64 * MIB, "64 MB")])
def test_memory_of_any_size_is_told(memory: int, size: str, tmp_path: Path) -> None:
    said = decoded(pc(memory=memory), tmp_path, with_bios=True)
    assert values(said, "Size") == values(said, "Maximum Capacity") == [size]
    high = ["27 GB"] if memory > 3 * GIB else []
    assert values(said, "Range Size") == (["3 GB", *high] if high else [size])


def test_a_firmware_says_itself_what_it_is(tmp_path: Path) -> None:
    assert types(decoded(pc(), tmp_path, with_bios=False))[0] == 1
    files = smbios.firmware_files(pc())
    anchor, tables = files["etc/smbios/smbios-anchor"], files["etc/smbios/smbios-tables"]
    assert len(anchor) == 0x1F
    assert int.from_bytes(anchor[0x16:0x18], "little") == len(tables)


def test_the_entry_point_adds_up_and_leads_to_the_structures(tmp_path: Path) -> None:
    """5.2.1: on a multiple of 16 from 0xF0000 on, two sums of 0."""
    memory = images.ram(64 * MIB)
    config = pc(cpus=8, memory=64 * MIB)
    images.load(memory, config, images.write(tmp_path, images.bzimage()))
    assert SMBIOS % 16 == 0
    entry = bytes(memory[SMBIOS : SMBIOS + 0x1F])
    assert entry[:4] == b"_SM_"
    assert sum(entry) % 256 == sum(entry[0x10:]) % 256 == 0
    made = smbios.structures(config, with_bios=True)
    at = int.from_bytes(entry[0x18:0x1C], "little")
    assert bytes(memory[at : at + len(made.data)]) == made.data
    most = smbios.in_low_memory(pc(cpus=32, memory=30 * GIB), SMBIOS)
    assert SMBIOS + len(most) <= BIOS_ENTRY


def test_the_modern_machine_has_none(tmp_path: Path) -> None:
    memory = images.ram(64 * MIB)
    images.load(memory, MachineConfig(memory=64 * MIB), images.write(tmp_path, images.bzimage()))
    assert not any(memory[0xF0000:BIOS_ENTRY])
