"""Where firmware enters the application."""

from vestige.abi import NvmeFailure, Shared
from vestige.efiemu.shell import block, ecam, ide, uefi
from vestige.efiemu.shell.accesses import enter
from vestige.efiemu.shell.announce import SIGNATURE, announce, is_off
from vestige.efiemu.shell.boot import boot
from vestige.efiemu.shell.bridges import find_bridges
from vestige.efiemu.shell.console import (
    COLON,
    SPACE,
    begin_line,
    end_line,
    put,
    put_check,
    put_hexadecimal,
    put_location,
    put_text,
    put_wide,
    tell,
)
from vestige.efiemu.shell.constants import Constants
from vestige.efiemu.shell.controller import (
    DEVICES,
    FUNCTIONS,
    NOWHERE,
    NVME,
    find_controller,
    functions_of,
    hide_memory,
    kind_of,
    prepare_vectors,
    stop,
    switch_on,
)
from vestige.efiemu.shell.handles import connect, disconnect, find_handle
from vestige.efiemu.shell.madt import find_processors
from vestige.efiemu.shell.monitor import place_monitor
from vestige.efiemu.shell.options import read_options
from vestige.efiemu.shell.others import end_all
from vestige.efiemu.shell.processor import describe, refusal_by_processor
from vestige.efiemu.shell.ram import end_of_ram, find_ram
from vestige.efiemu.shell.serial import write_line
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.tables import find_table, has_iommu
from vestige.efiemu.shell.takeover import disable_svm, enable_svm, take
from vestige.efiemu.shell.texts import FAILURES, LAST_FAILURE, Text
from vestige.efiemu.shell.uefi import LoadedImage, SystemTable
from vestige.lang.intrinsics import (
    end_shutting_out,
    shut_interrupts_out,
    wait_for_interrupt,
)
from vestige.lang.types import u32, u64


def efi_main(handle: u64, table: u64, state: u64, constants: u64) -> u64:
    """Take this machine over, or say in one line why it can't be: an EFI_STATUS."""
    shell = Shell.at(state)
    system = SystemTable.at(table)
    shell.boot, shell.output, shell.constants = system.boot, system.output, constants
    refusal = refusal_of(shell, system, handle)
    if refusal != Text.NOTHING:
        tell_refusal(shell, refusal)
        return uefi.UNSUPPORTED
    if not block.allocate(shell):
        tell(shell, Text.NO_MEMORY)
        return uefi.UNSUPPORTED
    if not find_ram(shell):
        tell(shell, Text.NO_MAP)
        block.release(shell)
        return uefi.UNSUPPORTED
    if not take_devices(shell):
        tell(shell, Text.KEPT)
        leave_devices(shell)
        return uefi.UNSUPPORTED
    place_all(shell)
    if not power_on(shell):
        end_line(shell)
        stop(shell)
        disable_svm()
        leave_devices(shell)
        return uefi.ABORTED
    take(shell, LoadedImage.at(shell.image))
    announce(shell)
    connect(shell, shell.handle)
    begin_line(shell, Text.NVME)
    put_hexadecimal(shell, shell.identity, 4)
    put(shell, COLON)
    put_hexadecimal(shell, shell.identity >> 16, 4)
    put_text(shell, Text.AT)
    put_location(shell, shell.controller)
    put_text(shell, Text.TAKEN)
    end_line(shell)
    boot(shell, handle)
    return uefi.ABORTED  # so that the firmware goes on to what it would boot next


def take_devices(shell: Shell) -> bool:
    """Take controller and old IDE from the firmware's drivers; False: one keeps them."""
    shell.handle = find_handle(shell, shell.controller)
    shell.old_handle = 0
    if shell.old_ide != NOWHERE:
        shell.old_handle = find_handle(shell, shell.old_ide)
    taken = disconnect(shell, shell.handle)
    return disconnect(shell, shell.old_handle) and taken


def leave_devices(shell: Shell) -> None:
    """Leave them to the firmware again, and the block."""
    block.release(shell)
    connect(shell, shell.handle)
    connect(shell, shell.old_handle)


def place_all(shell: Shell) -> None:
    """All that is in the block, and the controller ready for its new driver."""
    block.map_all(shell)
    block.map_controller(shell)
    hide_memory(shell)
    block.map_ram(shell, end_of_ram(shell, block.RAM_WINDOW_SIZE))
    ecam.take_pages(shell)
    switch_on(shell)
    prepare_vectors(shell)
    describe(shell)
    enable_svm(shell)
    place_monitor(shell)


def power_on(shell: Shell) -> bool:
    """Let the monitor bring its devices up, the firmware waiting; False: the line says why not."""
    shut_interrupts_out()
    enter(shell)
    report = Shared.at(u64(shell.block + block.MONITOR_SHARED)).statistics.nvme[0]
    usable = report.failure == NvmeFailure.NONE
    if usable:
        ide.set_up(shell)
    end_shutting_out()
    if not usable and not shell.failed:
        begin_line(shell, Text.UNUSABLE)
        put_text(shell, u32(FAILURES + min(report.failure, LAST_FAILURE)))
        if report.failure == NvmeFailure.COMMAND:
            put_text(shell, Text.ERROR)
            put_hexadecimal(shell, report.status, 4)
        return False
    return shell.failed == 0


def refusal_of(shell: Shell, system: SystemTable, handle: u64) -> u32:
    """Why this machine can't be taken over; Text.NOTHING: it can. Nothing is changed by that."""
    refusal = read_options(shell, handle)
    if refusal != Text.NOTHING:
        return refusal
    if find_table(system, SIGNATURE) != 0:
        return Text.ALREADY
    if is_off(shell, system):
        return Text.SWITCHED_OFF
    refusal = refusal_by_processor(shell)
    if refusal != Text.NOTHING:
        return refusal
    if has_iommu(system):
        return Text.IOMMU
    refusal = find_processors(shell, system)
    if refusal != Text.NOTHING:
        return refusal
    ecam.find_ecam(shell, system)
    refusal = find_controller(shell)
    if refusal == Text.NOTHING:
        find_bridges(shell)
    return refusal


def tell_refusal(shell: Shell, refusal: u32) -> None:
    """The line, with which word or which controller it is of."""
    begin_line(shell, refusal)
    if refusal in (Text.UNKNOWN_OPTION, Text.BAD_PLACE, Text.TWICE):
        put_wide(shell, shell.word, shell.word_size)
    elif refusal == Text.SEVERAL:
        put_location(shell, shell.controller)
        put_controllers(shell)
    elif refusal == Text.NOT_THERE:
        put_location(shell, shell.wanted)
        put_controllers(shell)
    end_line(shell)


def put_controllers(shell: Shell) -> None:
    """Which ones there are; most firmwares have nothing else that says so."""
    put_text(shell, Text.THERE_ARE)
    for device in range(DEVICES):
        first = u32(device * FUNCTIONS)
        for number in range(functions_of(first)):
            function = u32(first + number)
            if kind_of(function) == NVME:
                put(shell, SPACE)
                put_location(shell, function)


def efi_failed(check: u64, table: u64, state: u64, constants: u64) -> u64:
    """A check failed, which is a bug: say which one, and give the machine back: an EFI_STATUS."""
    shell = Shell.at(state)
    begin_line(shell, Text.PANIC)
    put_check(shell, u64(constants + Constants.at(constants).checks), u32(check))
    if table != 0:
        shell.output = SystemTable.at(table).output
        end_line(shell)
        return uefi.ABORTED
    end_all(shell)
    write_line(shell)
    while True:
        wait_for_interrupt()
