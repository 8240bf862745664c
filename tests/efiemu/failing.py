"""A monitor that fails where it powers its devices on."""

from tests import compiling
from vestige import abi
from vestige.abi import Cpu
from vestige.lang.image import Image
from vestige.lang.intrinsics import check


def vcpu_main(cpu: Cpu) -> None:
    check(cpu.index != 0)  # what fails


def worker_main(cpu: Cpu) -> None:
    check(cpu.index != 0)


def image() -> Image:
    """It, compiled."""
    return compiling.image([vcpu_main, worker_main], base=abi.IMAGE, runtime="monitor")
