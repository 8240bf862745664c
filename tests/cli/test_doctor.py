"""What the doctor says follows from what it found."""

from pathlib import Path

import pytest

from vestige.cli import doctor, main
from vestige.cli.doctor import CAN_NOT_RUN, CAN_RUN, Finding

WELL = Finding("x", True, "fine")
ILL = Finding("x", False, "broken", "mend it")


def test_a_finding_that_is_not_well_shows_its_cure() -> None:
    assert list(doctor.lines_of(ILL)) == [
        "x              no  broken",
        "                   -> mend it",
    ]
    assert list(doctor.lines_of(WELL)) == ["x              ok  fine"]


@pytest.mark.parametrize(
    ("native", "software", "compiler", "words", "status"),
    [
        (WELL, ILL, WELL, "on this machine's KVM", CAN_RUN),
        (ILL, WELL, WELL, "in the software host", CAN_RUN),
        (ILL, ILL, WELL, "no guest can run here yet", CAN_NOT_RUN),
        (WELL, WELL, ILL, "can't be compiled", CAN_NOT_RUN),
    ],
)
def test_the_verdict_follows_from_the_findings(
    native: Finding, software: Finding, compiler: Finding, words: str, status: int
) -> None:
    said, answered = doctor.verdict([WELL, native], [software], compiler)
    assert words in said
    assert answered == status


def test_the_doctor_speaks_of_everything_a_run_needs(capsys: pytest.CaptureFixture[str]) -> None:
    status = main.main(["doctor"])
    shown = capsys.readouterr().out
    for subject in (
        "KVM", "capabilities", "io_uring", "software host", "its kernel", "compiler", "SeaBIOS",
        "VGA BIOS", "OVMF",
    ):  # fmt: skip
        assert f"\n{subject} " in f"\n{shown}"
    assert (status == CAN_RUN) == ("runs guests" in shown)


def test_of_what_a_pc_starts_from_there_is_a_line_or_the_package(tmp_path: Path) -> None:
    there, missing = tmp_path / "bios.bin", tmp_path / "vgabios.bin"
    there.write_bytes(b"x")
    bios, vga_bios, uefi = doctor.firmware(str(there), str(missing), str(missing))
    assert bios == Finding("SeaBIOS", True, str(there))
    assert (vga_bios.well, vga_bios.cure) == (False, "sudo apt install seabios")
    assert str(missing) in vga_bios.found
    assert (uefi.well, uefi.cure) == (False, "sudo apt install ovmf")
    bios, *_ = doctor.firmware(str(missing), str(there))
    assert (bios.well, bios.cure) == (False, "sudo apt install seabios")
