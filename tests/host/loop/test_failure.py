"""What a run says of its end, and of an NVMe controller that the monitor could not bring up."""

from typing import Any

import pytest

from vestige import abi
from vestige.host.loop import failure
from vestige.host.options import NOWHERE, PC, VGA_NONE, VIRTIO, ConsoleOption, RunOptions


@pytest.mark.parametrize("reason", [each for each in abi.NvmeFailure if each])
def test_every_failure_has_words(reason: abi.NvmeFailure) -> None:
    words = failure.controller(abi.NvmeReport(failure=reason))
    assert words.startswith("the NVMe controller can't be used: ")
    assert f"failure {int(reason)}" not in words


def test_a_failed_command_is_told_with_its_status() -> None:
    report = abi.NvmeReport(failure=abi.NvmeFailure.COMMAND, status=0x102)
    assert failure.controller(report).endswith(
        "an admin command failed (status 0x102, type and code)"
    )


def test_a_number_that_means_nothing_is_shown_as_it_is() -> None:
    assert failure.controller(abi.NvmeReport(failure=200)).endswith(": failure 200")


def reset(fault: str = "", **words: Any) -> str:
    """What is said of a reset in a run that was asked for so."""
    return failure.reset_ends_run(fault, RunOptions(**words))


def test_a_triple_fault_alone_names_the_bios_that_a_pc_lacks() -> None:
    assert "--firmware bios" in reset("the guest had one", kernel="k", machine=PC)
    assert "--firmware" not in reset("the guest had one", machine=PC)
    assert "--firmware" not in reset("the guest had one", kernel="k")
    assert "--firmware" not in reset(kernel="k", machine=PC)


def test_a_firmware_may_have_found_nothing_to_boot() -> None:
    assert "nothing to boot" in reset(machine=PC)
    assert "nothing to boot" not in reset(kernel="k")


@pytest.mark.parametrize(
    ("console", "said"),
    [
        (ConsoleOption(), "its console, standard output, says why"),
        (ConsoleOption("log"), "its console, log, says why"),
        (ConsoleOption("unix:/s"), "its console, unix:/s, says why"),
        (ConsoleOption("log", VIRTIO, early=True), "its console, log, says why"),
        (ConsoleOption("log", VIRTIO), "to see why, give --console FILE"),
        (ConsoleOption(NOWHERE), "to see why, give --console FILE"),
    ],
)
def test_a_reset_says_where_a_bios_says_why(console: ConsoleOption, said: str) -> None:
    assert f"(status 3); {said} (a BIOS that finds" in reset(machine=PC, console=console)


def test_a_kernel_says_why_on_its_virtio_console() -> None:
    assert "its console, log, says why" in reset(kernel="k", console=ConsoleOption("log", VIRTIO))


def test_a_reset_says_how_to_see_the_screen_where_there_is_one() -> None:
    shown = "--on-reboot restart starts it anew, and `vestige screen {}` shows its screen then"
    assert reset(machine=PC).endswith(shown.format("NAME"))
    assert reset(machine=PC, name="mine").endswith(shown.format("mine"))
    assert reset(machine=PC, vga=VGA_NONE).endswith("--on-reboot restart starts it anew")
    assert reset(kernel="k").endswith("--on-reboot restart starts it anew")
