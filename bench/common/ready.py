"""What a PC's benchmarks need before they measure: the monitor compiled, the newest QEMU."""

from pathlib import Path

from bench.common import newest_qemu
from vestige.host import images
from vestige.host.options import VGA_BIOS


def prepared() -> dict[str, list[str]]:
    """The words that begin QEMU's command line, with the BIOSes that Vestige's PC has."""
    images.ensure()
    words = newest_qemu.with_firmware(newest_qemu.qemu().words, Path(VGA_BIOS).parent)
    return {"qemu": words}
