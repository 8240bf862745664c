"""The interval timer compiled, among the whole core: the same traps, the same state."""

import random

from tests.devices.models import MODELS, interpret, random_steps
from tests.monitor.test_compiled import Pair
from tests.visitor.inside.machine import VECTOR, ask_for, timer_of
from tests.visitor.interval_timer.place import INTERVAL_TIMER, MEMORY, PIN, PORT
from tests.visitor.interval_timer.spec import Control, Register
from vestige import abi
from vestige.monitor.core.trap import Kind, Trap


def at_port(size: int, write: bool, port: int) -> Trap:
    """IN or OUT."""
    return Trap(kind=Kind.PORT, write=write, size=size, count=1, address=port)


def in_memory(size: int, write: bool, address: int) -> Trap:
    """A load or a store."""
    return Trap(kind=Kind.MEMORY, write=write, size=size, count=1, address=address)


def words(value: int) -> bytes:
    """A value as a trap's data."""
    return value.to_bytes(8, "little")


def pair(asked: bool) -> Pair:
    """A machine whose user asked for the device, or not; its pin is unmasked."""
    made = Pair(ide_in_memory=False, virtio=False)
    if asked:
        ask_for(made.rig)
    for half, value in ((1, 0), (0, VECTOR)):
        made.trap(in_memory(4, True, abi.IOAPIC), words(0x10 + 2 * PIN + half))
        made.trap(in_memory(4, True, abi.IOAPIC + 0x10), words(value))
    return made


def start(machine: Pair, microseconds: int) -> None:
    """Have the timer run and interrupt."""
    machine.trap(at_port(4, True, PORT + Register.PERIOD), words(microseconds))
    machine.trap(at_port(1, True, PORT + Register.CONTROL), words(Control.WRITABLE))


def test_it_is_programmed_and_interrupts() -> None:
    random.seed(1)
    machine = pair(True)
    start(machine, 100)
    timer = timer_of(machine.rig)
    assert machine.rig.machine.next_deadline() == timer.deadline
    machine.now = timer.deadline
    machine.signal(abi.TIMER_SIGNAL)
    assert (timer.count, timer.line.level) == (1, 1)
    ioapic = machine.rig.machine.ioapic
    assert ioapic.requests >> PIN & 1


def test_without_its_option_it_is_nobody_s() -> None:
    random.seed(2)
    machine = pair(False)
    before = bytes(timer_of(machine.rig))
    for write in (False, True):
        machine.trap(at_port(4, write, PORT), bytes(8))
        machine.trap(in_memory(8, write, MEMORY), bytes(8))
    assert bytes(timer_of(machine.rig)) == before


def test_any_accesses_do_the_same() -> None:
    random.seed(3)
    machine = pair(True)
    for _ in range(400):
        write = random.random() < 0.6
        if random.random() < 0.5:
            trap = at_port(random.choice((1, 2, 4)), write, PORT - 2 + random.randrange(18))
        else:
            trap = in_memory(random.randrange(1, 9), write, MEMORY - 2 + random.randrange(20))
        machine.trap(trap, random.randbytes(8))
        if random.random() < 0.1:
            start(machine, 1)
            machine.signal(abi.TIMER_SIGNAL)
    timer = timer_of(machine.rig)
    assert timer.accesses > 400
    assert timer.count > 0


def test_the_fuzzer_of_the_small_devices_drives_it() -> None:
    """Its operations follow from its place; test_models.py runs them compiled too."""
    model = MODELS[INTERVAL_TIMER.field]
    steps = random_steps(model, 500, random.Random(4))
    names = {step.operation.method.__name__ for step in steps}
    assert names == {"read", "write", "expire", "next_deadline"}
    _, state = interpret(model, steps)
    assert state != bytes(len(state))
