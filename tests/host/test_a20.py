"""The gate of bit 20 as SeaBIOS closes and opens it, on this KVM: a program wraps at 1 MiB."""

from pathlib import Path

import pytest

from tests.assembly import NEEDED, assembled
from tests.host.harness import why_not
from tests.host.test_firmware import SEABIOS, vestige

SOURCE = Path(__file__).with_name("a20_sector.s")
# The byte in the first 64 KiB, the one 1 MiB on, and what SeaBIOS says of the gate.
OPEN, CLOSED = b"ab1", b"aa0"
WRITTEN, OPENED, CLOSED_AGAIN = b"cc0", b"cb1", b"cc0"

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(not SEABIOS.exists(), reason="needs seabios"),
    NEEDED,
]


@pytest.mark.parametrize("vga", ["none", "std"])
def test_addresses_wrap_at_1_mib_while_the_gate_is_closed(vga: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(assembled(SOURCE, tmp_path).ljust(1 << 20, b"\0"))
    words = ("--machine", "pc", "--memory", "64M", "--vga", vga, "--timeout", "50")
    done = vestige(*words, "--disk", f"{disk},bus=ide")
    by_bios = OPEN + CLOSED + WRITTEN + OPENED
    by_ports = CLOSED_AGAIN + OPENED + CLOSED_AGAIN + OPENED
    assert done.stdout.endswith(by_bios + by_ports), done
    assert (done.returncode, done.stderr) == (0, b"")
