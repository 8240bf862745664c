"""Resets of a PC: of the processors alone, where its firmware goes on, else of the machine."""

from collections.abc import Callable

import pytest

from tests.devices.fw_cfg.driver import ITEMS
from tests.monitor.rig import PoweredOff, Rig
from tests.monitor.test_core import CoalescedPage, queue
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.monitor.devices.mc146818.spec import RESUMING, Cell
from vestige.monitor.devices.piix3_isa.spec import PORT_RESET_CONTROL

INIT = 0x500  # in a message's data
RESUME = 0x0A
SHUTDOWNS = (abi.ExitReason.SHUTDOWN, abi.ExitReason.INTERNAL_ERROR)


def machine(board: abi.Board = abi.Board.PC, *, firmware: bool = True, cpus: int = 1) -> Rig:
    rig = Rig(cpus=cpus)
    rig.shared.config.board = board
    rig.shared.config.firmware_items = ITEMS if firmware else 0
    return rig.start()


def set_shutdown_code(rig: Rig, code: int) -> None:
    rig.out(0x70, Cell.SHUTDOWN)
    rig.out(0x71, code)


def pulse(rig: Rig) -> None:
    rig.out(0x64, 0xFE)


def write_output_port(rig: Rig) -> None:
    rig.out(0x64, 0xD1)
    rig.out(0x60, 0xDE)


def write_port_92(rig: Rig) -> None:
    rig.out(0x92, 1)


def write_reset_control(rig: Rig) -> None:
    rig.out(PORT_RESET_CONTROL, 4)


SOFT = (pulse, write_output_port, write_port_92, write_reset_control)


@pytest.mark.parametrize("reset", SOFT)
@pytest.mark.parametrize("code", RESUMING)
def test_processors_alone_are_reset_where_firmware_goes_on(
    reset: Callable[[Rig], None], code: int
) -> None:
    rig = machine(cpus=2)
    set_shutdown_code(rig, code)
    reset(rig)
    messages = [(abi.INIT_GSI, abi.LOCAL_APIC | cpu << 12, INIT) for cpu in (1, 0)]
    assert rig.routed == messages, "the boot CPU last"
    assert rig.rung == [abi.INIT_GSI] * 2
    assert rig.inp(0x71) == code, "the devices are as they were"
    assert rig.inp(0x64) & 1 == 0
    assert rig.routed == messages, "once"
    reset(rig)
    assert len(rig.rung) == 4, "and again"


@pytest.mark.parametrize("reset", SOFT)
@pytest.mark.parametrize("code", sorted(set(range(0x100)) - set(RESUMING))[::17])
def test_without_a_code_to_go_on_by_the_machine_is_reset(
    reset: Callable[[Rig], None], code: int
) -> None:
    rig = machine()
    set_shutdown_code(rig, code)
    with pytest.raises(PoweredOff, match="RESET"):
        reset(rig)
    assert not rig.rung


@pytest.mark.parametrize("reset", SOFT)
def test_without_a_firmware_nothing_goes_on(reset: Callable[[Rig], None]) -> None:
    rig = machine(firmware=False)
    set_shutdown_code(rig, RESUME)
    with pytest.raises(PoweredOff):
        reset(rig)


def test_the_host_is_told_of_the_gate_of_bit_20_when_it_moves() -> None:
    rig = machine()
    rig.out(0x64, 0xDF)
    assert rig.mapped == []
    rig.out(0x64, 0xDD)
    rig.out(0x92, 0)
    assert rig.mapped == [(abi.GATE_NUMBER, abi.GATE_CLOSED)]
    rig.out(0x92, 2)
    assert rig.mapped[1:] == [(abi.GATE_NUMBER, abi.GATE_OPEN)]
    rig.out(0x64, 0xD1)
    rig.out(0x60, 0xDD)
    assert rig.mapped[2:] == [(abi.GATE_NUMBER, abi.GATE_CLOSED)]


def test_a_hard_reset_is_one_whatever_the_code() -> None:
    rig = machine()
    set_shutdown_code(rig, RESUME)
    with pytest.raises(PoweredOff, match="RESET"):
        rig.out(PORT_RESET_CONTROL, 6)


@pytest.mark.parametrize("board", list(abi.Board))
@pytest.mark.parametrize("cpu", [0, 1])
@pytest.mark.parametrize("reason", SHUTDOWNS)
def test_a_processor_s_shutdown_resets_the_machine(
    board: abi.Board, cpu: int, reason: abi.ExitReason
) -> None:
    """Where KVM couldn't go on with it, the host knows that."""
    rig = machine(board, cpus=2)
    if board == abi.Board.PC:
        set_shutdown_code(rig, RESUME)
    with pytest.raises(PoweredOff, match="TRIPLE_FAULT"):
        rig.shut_down(cpu, reason)


def test_pci_s_ports_are_where_they_were_beside_the_reset_control_register() -> None:
    rig = machine()
    rig.out(abi.PORT_PCI_ADDRESS, 0x8000_0800, size=4)
    assert rig.inp(abi.PORT_PCI_DATA, 4) == 0x7000_8086
    rig.out(PORT_RESET_CONTROL, 2)
    assert rig.inp(PORT_RESET_CONTROL) == 2
    assert rig.inp(abi.PORT_PCI_ADDRESS, 4) == 0x8000_0800


@pytest.mark.parametrize(("value", "soft"), [(6, False), (4, True)])
def test_a_reset_that_kvm_has_queued_is_done_by_the_worker(value: int, soft: bool) -> None:
    """KVM queues writes at PCI's address register, and a guest that halts makes no trap."""
    rig = machine()
    page = CoalescedPage()
    rig.shared.config.coalesced = address_of(page)
    rig.shared.config.coalesced_entries = 4
    set_shutdown_code(rig, RESUME)
    queue(page, PORT_RESET_CONTROL, value)
    if soft:
        rig.work()
        assert rig.rung == [abi.INIT_GSI]
    else:
        with pytest.raises(PoweredOff, match="RESET"):
            rig.work()


@pytest.mark.parametrize("reason", SHUTDOWNS)
def test_a_reset_that_kvm_has_queued_is_what_ended_the_processor(reason: abi.ExitReason) -> None:
    """SeaBIOS has an INT3 behind it, which no processor comes to and not every KVM can emulate."""
    rig = machine()
    page = CoalescedPage()
    rig.shared.config.coalesced = address_of(page)
    rig.shared.config.coalesced_entries = 4
    queue(page, PORT_RESET_CONTROL, 2)
    queue(page, PORT_RESET_CONTROL, 6)
    with pytest.raises(PoweredOff, match="RESET"):
        rig.shut_down(0, reason)


@pytest.mark.parametrize("resetting", [0, 1])
def test_an_external_interrupt_waits_for_the_processor_s_reset(resetting: int) -> None:
    """The CPU could take one when it exited, and can take none at its first instruction.

    Another CPU may reset it while it waits for the lock, to begin its turn.
    """
    rig = machine(cpus=2)
    for port, word in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0)):
        rig.out(port, word)
    rig.cpus[0].exit.ready = 0
    rig.out(abi.PORT_UART + 1, 2)  # its transmitter is empty: IRQ 4
    set_shutdown_code(rig, RESUME)
    rig.cpus[0].exit.ready = 1
    rig.out(0x64, 0xFE, cpu=resetting)
    assert rig.rung == [abi.INIT_GSI] * 2
    if resetting:
        rig.inp(0x21)
    argument = rig.cpus[0].argument
    assert (rig.reply, argument[0], argument[1]) == (abi.Call.INJECT, abi.NO_VECTOR, 1)
    rig.inp(0x21)
    assert (rig.reply, argument[0]) == (abi.Call.INJECT, 0x24), "its next exit"
