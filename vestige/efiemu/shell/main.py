"""Where firmware enters the application."""

from vestige.efiemu.shell import block, uefi
from vestige.efiemu.shell.console import (
    COLON,
    end_line,
    put,
    put_check,
    put_hexadecimal,
    put_location,
    put_text,
    tell,
)
from vestige.efiemu.shell.constants import Constants
from vestige.efiemu.shell.controller import find_controller
from vestige.efiemu.shell.monitor import place_monitor, power_on
from vestige.efiemu.shell.options import read_options
from vestige.efiemu.shell.processor import refusal_by_processor
from vestige.efiemu.shell.serial import write_line
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.tables import has_iommu
from vestige.efiemu.shell.takeover import disable_svm, enable_svm, take
from vestige.efiemu.shell.texts import Text
from vestige.efiemu.shell.uefi import LoadedImage, SystemTable
from vestige.lang.intrinsics import wait_for_interrupt
from vestige.lang.types import u32, u64


def efi_main(handle: u64, table: u64, state: u64, constants: u64) -> u64:
    """Take this machine over, or say in one line why it can't be: an EFI_STATUS."""
    shell = Shell.at(state)
    system = SystemTable.at(table)
    shell.boot, shell.output, shell.constants = system.boot, system.output, constants
    refusal = refusal_of(shell, system, handle)
    if refusal != Text.NOTHING:
        tell(shell, refusal)
        return uefi.UNSUPPORTED
    if not block.allocate(shell):
        tell(shell, Text.NO_MEMORY)
        return uefi.UNSUPPORTED
    block.map_all(shell)
    enable_svm(shell)
    place_monitor(shell)
    if not power_on(shell):
        end_line(shell)
        disable_svm()
        block.release(shell)
        return uefi.ABORTED
    take(shell, LoadedImage.at(shell.image))
    put_text(shell, Text.NAME)
    put_text(shell, Text.NVME)
    put_hexadecimal(shell, shell.identity, 4)
    put(shell, COLON)
    put_hexadecimal(shell, shell.identity >> 16, 4)
    put_text(shell, Text.AT)
    put_location(shell, shell.controller)
    put_text(shell, Text.TAKEN)
    end_line(shell)
    return uefi.ABORTED  # so that the firmware goes on to what it would boot next


def refusal_of(shell: Shell, system: SystemTable, handle: u64) -> u32:
    """Why this machine can't be taken over; Text.NOTHING: it can. Nothing is changed by that."""
    if not read_options(shell, handle):
        return Text.OPTIONS
    refusal = refusal_by_processor(shell)
    if refusal != Text.NOTHING:
        return refusal
    if has_iommu(system):
        return Text.IOMMU
    return find_controller(shell)


def efi_failed(check: u64, table: u64, state: u64, constants: u64) -> u64:
    """A check failed, which is a bug: say which one, and give the machine back: an EFI_STATUS."""
    shell = Shell.at(state)
    shell.length = 0
    put_text(shell, Text.NAME)
    put_text(shell, Text.PANIC)
    put_check(shell, u64(constants + Constants.at(constants).checks), u32(check))
    if table != 0:
        shell.output = SystemTable.at(table).output
        end_line(shell)
        return uefi.ABORTED
    write_line(shell)
    while True:
        wait_for_interrupt()
