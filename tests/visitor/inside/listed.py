"""Where the interval timer is listed: among the options, in the launcher, in ACPI."""

import re
import subprocess
import sys
from pathlib import Path

from tests.machine.test_acpi import source, tables
from tests.visitor.interval_timer.place import INTERVAL_TIMER
from vestige.cli.run import SYNTAX, options_of
from vestige.devices import DEVICES, STANDARD
from vestige.launcher.launcher import command_line
from vestige.machine.config import MachineConfig
from vestige.place import options_for

FIELD = INTERVAL_TIMER.field
WITH_IT = MachineConfig(devices=STANDARD | {FIELD})
# ACPI 6.5, 6.4.2.5, 6.4.3.4, 6.4.3.6: 14 ports from 0x300, 16 bytes of memory, GSI 5's edges.
CLAIMS = bytes.fromhex(
    "47 01 0003 0003 01 0e  86 0900 01 0000b0fe 10000000  89 0600 03 01 05000000"
)
NAME = b"ITMR"


def test_the_command_s_help_has_its_option() -> None:
    command = [sys.executable, "-m", "vestige.cli.main", "run", "--help"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert re.search(r"^ +--interval-timer +give the guest an interval timer$", done.stdout, re.M)


def test_its_option_is_a_bit_of_the_monitor_s_config() -> None:
    asked = options_of(SYNTAX.read(["--kernel=k", "--interval-timer"]))
    assert asked.devices == (FIELD,)
    assert options_for(DEVICES, asked.devices) == 1 << DEVICES.index(INTERVAL_TIMER)
    assert options_of(SYNTAX.read(["--kernel=k"])).devices == ()


def test_the_launcher_knows_its_option() -> None:
    assert command_line({"interval_timer": True}) == ["--interval-timer"]


def test_its_acpi_node_has_what_its_place_claims() -> None:
    node = tables(WITH_IT)["DSDT"].partition(NAME)[2]
    assert b"TEST0001" in node
    assert CLAIMS in node


def test_iasl_reads_its_node(tmp_path: Path) -> None:
    text = source(WITH_IT, tmp_path)
    assert 'Name (_HID, "TEST0001"' in text[text.index("Device (ITMR)") :]


def test_without_its_option_acpi_has_no_node() -> None:
    assert NAME not in tables(MachineConfig())["DSDT"]
