"""The same 500 random sequences to our keyboard controller and to QEMU's, keys among them."""

import random
import socket
from collections.abc import Iterator

import pytest

from tests.qtest.client import qemu
from tests.qtest.i8042_pair import (
    DRAIN,
    KEYS,
    READ,
    STATUS,
    Access,
    Key,
    Monitor,
    Move,
    Ours,
    Sequences,
    Step,
    Theirs,
    command,
    compare,
    keyboard,
    mouse,
    start,
)
from vestige.monitor.devices.i8042.place import PORT_SYSTEM_CONTROL
from vestige.monitor.devices.i8042.spec import Command

pytestmark = pytest.mark.qtest

SEQUENCES = 50


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    """QEMU's pc, which runs: keys come to no machine that is stopped."""
    ours, other = socket.socketpair()
    options = ["-chardev", f"socket,id=qmp,fd={other.fileno()}", "-mon", "chardev=qmp,mode=control"]
    folder = tmp_path_factory.mktemp("qemu")
    with ours, qemu(folder, options, files=[other.fileno()], running=True) as machine:
        other.close()
        ours.settimeout(60)
        machine.send("irq_intercept_in ioapic")
        machine.flush()
        yield Theirs(machine, Monitor(ours))


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_and_interrupt_alike(theirs: Theirs, seed: int) -> None:
    chance = random.Random(seed)
    before = theirs.interrupts()
    for _ in range(SEQUENCES):
        difference = compare(theirs, Sequences(chance).sequence())
        assert difference is None, difference
    grown = [now - then for now, then in zip(theirs.interrupts(), before, strict=True)]
    assert min(grown) > SEQUENCES  # it is not silence that agrees


def asked(*values: int) -> list[Step]:
    """Bytes for the mouse, and a look at all that it answers to each."""
    return [step for value in values for step in (*mouse(value), *DRAIN)]


A_KEY: list[Step] = [Key("a", True), Key("a", False)]
# Each row of the page: steps, and how our last answers and QEMU's begin to differ.
ROWS: dict[str, tuple[list[Step], list[int], list[int]]] = {
    "status, bit 3": ([*keyboard(0xEE), READ, STATUS], [0x14], [0x1C]),
    "status, bit 2": ([*command(Command.WRITE_RAM, 3), STATUS], [0x10], [0x1C]),
    "RAM": ([*command(0x61, 0x77), *command(0x21), READ], [0x77], [0xFE]),
    "E0": ([*command(Command.READ_TEST_INPUTS), READ], [3], [0xA5]),
    "command in place of data": (
        [*command(Command.WRITE_RAM), *command(Command.ENABLE_MOUSE, 0xEE), READ],
        [0xEE],
        [0xA5],
    ),
    "A20": ([*command(Command.CLOSE_A20), Access(PORT_SYSTEM_CONTROL)], [0], [2]),
    "0x92, bits 2 to 7": (
        [Access(PORT_SYSTEM_CONTROL, 0xFE), Access(PORT_SYSTEM_CONTROL)],
        [2],
        [0xFE],
    ),
    "two bytes of the controller's": (
        [*command(Command.SELF_TEST), *command(Command.WRITE_MOUSE_OUTPUT, 5), STATUS],
        [0x35],
        [0x1D],
    ),
    "byte in the output buffer": ([*keyboard(0xEE, 0xF1), READ], [0xEE], [0xFE]),
    "F7": ([*keyboard(0xF7), READ], [0xFA], [0xFE]),
    "00": ([*keyboard(0x00), READ], [0xFE], [0xFA]),
    "F0 03": ([*keyboard(0xF0), READ, *keyboard(3), READ], [0xFE], [0xFA]),
    "FE": ([*keyboard(0xF2), *DRAIN, *keyboard(0xFE), READ], [0x83], [0xFE]),
    "F4": ([*command(0xAD), *A_KEY, *keyboard(0xF4), READ, READ], [0xFA], [0x1C]),
    "command in place of an option": (
        [*keyboard(0xED), READ, *keyboard(0xEE), READ],
        [0xEE],
        [0xFA],
    ),
    "keys before an option": ([*keyboard(0xED), READ, *A_KEY, READ], [0xFA], [0x1C]),
    "unknown to the mouse": ([*mouse(0x10), READ], [0xFE], [0xA5]),
    "mouse's parameter": ([*asked(0xE8, 9), *mouse(0xE9), READ, READ, READ], [2], [9]),
    "mouse's command in place": ([*asked(0xF3), *mouse(0xFF), READ, READ], [0xAA], [0xFA]),
    "mouse's reply": ([*mouse(0xE9), READ, *mouse(0xF2), READ, READ], [0xFA], [2]),
    "mouse's FE": ([*asked(0xF2), *mouse(0xFE), READ], [0xFA], [0]),
    "EC": ([*mouse(0xEC), READ], [0xFA], [0xA5]),
    "FF in wrap mode": ([*asked(0xEE, 0xFF), *mouse(0xF2), READ], [0xFA], [0xF2]),
    "status of buttons": (
        [*asked(0xF4), Move(0, 0, 0, 1), *DRAIN, *mouse(0xE9), READ, READ, Move(0, 0, 1, 0)],
        [0x24, 0],
        [0x20, 0],
    ),
    "scaling": ([*asked(0xF4, 0xE7), Move(5, 0), READ, READ], [9], [5]),
    "resolution": ([*asked(0xF4, 0xE8, 0), Move(8, 0), READ, READ], [2], [8]),
    "far": ([*asked(0xF4), Move(200, 0), READ, READ], [200], [127]),
    "not enabled": ([*asked(0xF0), Move(8, 0), *mouse(0xEB), READ, READ, READ], [8], [0]),
    "knock": (
        [*asked(0xF3, 200, 0xF3, 200, 0xF3, 100, 0xF3, 80), *mouse(0xF2), READ, READ],
        [3],
        [0],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_rows_of_the_page_are_real_differences(theirs: Theirs, row: str) -> None:
    steps, mine, other = ROWS[row]
    ours = Ours()
    ours.run(start())
    theirs.run(start())
    assert ours.run(steps)[0][-len(mine) :] == mine
    assert theirs.run(steps)[0][-len(other) :] == other


def test_a_byte_of_the_controller_s_interrupts_though_the_keyboard_is_disabled(
    theirs: Theirs,
) -> None:
    steps = [*command(Command.DISABLE_KEYBOARD), *command(Command.READ_INPUT_PORT), READ]
    ours = Ours()
    ours.run(start())
    theirs.run(start())
    assert ours.run(steps)[1] == [1, 0]
    assert theirs.run(steps)[1] == [0, 0]


def test_only_here_an_overrun_code_says_that_keys_were_lost(theirs: Theirs) -> None:
    seven = [*command(Command.DISABLE_KEYBOARD), *(7 * A_KEY)]
    theirs.run(start())
    answers, _ = theirs.run([*seven, *command(Command.ENABLE_KEYBOARD), *DRAIN, *DRAIN])
    assert answers[-16:] == [*(5 * [0x1C, 0xF0, 0x1C]), 0x1C]
    ours = Ours()
    ours.run([*start(), *seven[:-4]])
    assert ours.model.press(KEYS["a"], ours.now)
    assert not ours.model.release(KEYS["a"], ours.now)
    answers, _ = ours.run([*command(Command.ENABLE_KEYBOARD), *DRAIN, *DRAIN, READ])
    assert answers[-17:] == [*(5 * [0x1C, 0xF0, 0x1C]), 0x1C, 0x00]
