"""What a run says of its end, and of an NVMe controller that the monitor could not bring up."""

import pytest

from vestige import abi
from vestige.host.loop import failure


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


def test_a_reset_that_is_no_triple_fault_names_no_bios() -> None:
    assert failure.reset_ends_run("", lacks_bios=True) == failure.reset_ends_run("")
    assert "--firmware bios" in failure.reset_ends_run("the guest had one", lacks_bios=True)


def test_a_firmware_may_have_found_nothing_to_boot() -> None:
    assert "nothing to boot" in failure.reset_ends_run("", by_firmware=True)
    assert "nothing to boot" not in failure.reset_ends_run("")
