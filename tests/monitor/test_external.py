"""External interrupts: a PC's PIC, the boot CPU's turns, and who calls it."""

import pytest

from tests.monitor.rig import Rig
from tests.monitor.test_core import CoalescedPage, queue
from vestige import abi
from vestige.lang.intrinsics import address_of
from vestige.monitor import outside

VECTORS = 0x20
UART_IRQ = 4
ENABLE = abi.PORT_UART + 1
TRANSMITTER_EMPTY = 2  # interrupts at once, as it is empty
NOTHING = abi.NO_VECTOR


def machine(board: abi.Board, *, has_bell: bool = False) -> Rig:
    """With two CPUs and a PIC that lets all interrupts through, where there is one."""
    rig = Rig(cpus=2, console=True)
    rig.shared.config.board = board
    rig.shared.config.attend_port = has_bell
    rig.start()
    for port, first, cascade in ((0x20, VECTORS, 4), (0xA0, VECTORS + 8, 2)):
        for offset, word in ((0, 0x11), (1, first), (1, cascade), (1, 1), (1, 0)):
            rig.out(port + offset, word)
    assert rig.reply == abi.Call.DONE
    return rig


@pytest.fixture(params=[True, False], ids=["bell", "call"])
def pc(request: pytest.FixtureRequest) -> Rig:
    return machine(abi.Board.PC, has_bell=request.param)


def called(rig: Rig) -> int:
    """How often the boot CPU was, by the means that there is."""
    return rig.bells + rig.calls.count(abi.Call.ATTEND)


def can_take_one(rig: Rig, ready: bool) -> None:
    """Whether the boot CPU's guest could, at its next exit."""
    rig.cpus[0].exit.ready = ready


def window_opens(rig: Rig) -> None:
    """The guest exits because it can take an interrupt."""
    can_take_one(rig, True)
    rig.cpus[0].exit.reason = abi.ExitReason.INTERRUPT_WINDOW
    rig.enter()


def asked(rig: Rig) -> tuple[int, int, int]:
    """The last turn's call, and its arguments."""
    return rig.reply, rig.cpus[0].argument[0], rig.cpus[0].argument[1]


def test_a_guest_that_can_take_an_interrupt_gets_it_with_the_answer(pc: Rig) -> None:
    can_take_one(pc, True)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)
    assert pc.inp(0x20) == 0  # taken
    assert pc.reply == abi.Call.DONE


def test_a_read_that_moves_nothing_has_an_interrupt_taken_too(pc: Rig) -> None:
    can_take_one(pc, False)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    can_take_one(pc, True)
    pc.inp(abi.PORT_UART + 5)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)


def test_a_guest_that_can_take_none_exits_once_it_can(pc: Rig) -> None:
    can_take_one(pc, False)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    assert asked(pc) == (abi.Call.INJECT, NOTHING, 1)
    window_opens(pc)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)


def test_of_two_interrupts_the_second_waits_for_the_first(pc: Rig) -> None:
    pc.out(0x21, 0xFF)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    pc.machine.pic.take_lines(1 << UART_IRQ | 1 << 1, 1 << 1)
    pc.machine.uart.line.rose = 1
    can_take_one(pc, True)
    pc.out(0x21, 0)
    assert asked(pc)[:2] == (abi.Call.INJECT, VECTORS + 1)
    pc.out(0x20, 0x20)  # its end lets the other through
    assert asked(pc)[:2] == (abi.Call.INJECT, VECTORS + UART_IRQ)


def test_an_interrupt_that_is_gone_by_then_is_not_injected(pc: Rig) -> None:
    can_take_one(pc, False)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    pc.out(0x21, 1 << UART_IRQ)
    window_opens(pc)
    assert pc.reply == abi.Call.DONE


def test_who_else_makes_the_pic_ask_calls_the_boot_cpu_once(pc: Rig) -> None:
    pc.out(ENABLE, TRANSMITTER_EMPTY, cpu=1)
    assert called(pc) == 1
    assert pc.reply == abi.Call.DONE
    pc.inp(0x21, cpu=1)
    assert called(pc) == 1, "it has been called, and has not come yet"
    can_take_one(pc, True)
    pc.cpus[0].exit.reason = abi.ExitReason.INTERRUPTED
    pc.enter()
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)


def test_a_boot_cpu_that_exits_once_it_can_is_not_called(pc: Rig) -> None:
    can_take_one(pc, False)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    pc.inp(0x21, cpu=1)
    assert called(pc) == 0


def has_queue(rig: Rig) -> CoalescedPage:
    page = CoalescedPage()
    rig.shared.config.coalesced, rig.shared.config.coalesced_entries = address_of(page), 4
    return page


def test_an_end_of_interrupt_may_be_queued(pc: Rig) -> None:
    page = has_queue(pc)
    can_take_one(pc, True)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)
    assert page.ring.last == 0
    queue(page, 0x20, 0x20)
    assert pc.inp(abi.PORT_UART + 2) & 0xF == TRANSMITTER_EMPTY
    pc.out(ENABLE, 0)
    pc.out(ENABLE, TRANSMITTER_EMPTY)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)


def test_none_is_queued_that_another_interrupt_waits_for(pc: Rig) -> None:
    page = has_queue(pc)
    pc.out(0x21, 0xFF)
    pc.machine.pic.take_lines(1 << 1, 1 << 1)
    can_take_one(pc, True)
    pc.out(0x21, 0)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + 1, 0)
    assert page.ring.last == 0
    pc.out(ENABLE, TRANSMITTER_EMPTY, cpu=1)
    assert called(pc) == 1
    pc.cpus[0].exit.reason = abi.ExitReason.INTERRUPTED
    pc.enter()
    assert pc.reply == abi.Call.DONE
    assert page.ring.last == abi.COALESCED_CLOSED
    pc.inp(0x21, cpu=1)
    assert called(pc) == 1, "its guest exits anyway"
    pc.out(0x20, 0x20)
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)
    assert page.ring.last == page.ring.first


def test_one_that_was_queued_before_another_interrupt_came_is_looked_for(pc: Rig) -> None:
    page = has_queue(pc)
    pc.out(0x21, 0xFF)
    pc.machine.pic.take_lines(1 << 1, 1 << 1)
    can_take_one(pc, True)
    pc.out(0x21, 0)
    pc.out(ENABLE, TRANSMITTER_EMPTY, cpu=1)
    queue(page, 0x20, 0x20)
    assert called(pc) == 1
    pc.cpus[0].exit.reason = abi.ExitReason.INTERRUPTED
    pc.enter()
    assert asked(pc) == (abi.Call.INJECT, VECTORS + UART_IRQ, 0)


def test_a_write_queued_by_another_cpu_meanwhile_is_taken_first(
    pc: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = has_queue(pc)
    pc.machine.pic.take_lines(1 << 1, 1 << 1)
    can_take_one(pc, True)
    pc.inp(0x21)
    pc.machine.pic.take_lines(1 << 3, 1 << 3)
    close = outside.let_queue

    def closed(config: abi.Config, queues: bool) -> bool:
        if not page.ring.last:
            queue(page, abi.PORT_UART + 7, 0x77)
        return close(config, queues)

    monkeypatch.setattr(outside, "let_queue", closed)
    pc.inp(0x21)
    assert (called(pc), page.ring.last) == (1, 1)
    pc.cpus[0].exit.reason = abi.ExitReason.INTERRUPTED
    pc.enter()
    assert page.ring.last == abi.COALESCED_CLOSED
    assert pc.machine.uart.scratch == 0x77


def test_the_modern_machine_has_none_of_that() -> None:
    modern = machine(abi.Board.MODERN)
    can_take_one(modern, True)
    modern.out(ENABLE, TRANSMITTER_EMPTY)
    modern.out(ENABLE, TRANSMITTER_EMPTY, cpu=1)
    assert modern.reply == abi.Call.DONE
    assert called(modern) == 0
    assert modern.inp(0x21) == 0xFF
