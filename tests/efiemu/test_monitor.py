"""The monitor as a second virtual machine: what it starts with, and what it leaves for."""

import ctypes
from collections.abc import Callable, Iterator

import pytest

from tests.efiemu import failing
from tests.efiemu.firmware import LOW, Firmware
from tests.efiemu.machine import monitor_constants
from tests.efiemu.memory import physical, translate
from vestige import abi
from vestige.abi import Call, Cpu, Shared
from vestige.efiemu import lines
from vestige.efiemu.build import constants
from vestige.efiemu.shell import block
from vestige.efiemu.shell.accesses import enter
from vestige.efiemu.shell.block import MONITOR_CPUS, MONITOR_SHARED, MONITOR_STACKS, SIZE
from vestige.efiemu.shell.lines import line_of
from vestige.efiemu.shell.monitor import IN, configure, monitor_cpu, monitor_vmcb, place_monitor
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Exit, Intercept, Vmcb
from vestige.host import images
from vestige.host.kvm import monitor_tables
from vestige.lang.intrinsics import load64, running_on

NOT_PRESENT = 1 << 0
Step = Callable[[Vmcb], None]
STEP_KHZ = 3_000_000  # of the counter


class Beside(Firmware):
    """A processor whose monitor does what it is told, a step a VMRUN."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.steps, self.taken, self._counter = list(steps), 0, 1 << 40
        self.asides: list[tuple[int, int, int]] = []  # what exits then, and whose state is kept

    def run_guest(self, vmcb: int, registers: int) -> None:
        self.steps.pop(0)(Vmcb.at(vmcb))

    def run_aside(self, vmcb: int, registers: int, other: int) -> None:
        state = Vmcb.at(vmcb)
        self.asides.append((state.exceptions, state.intercepts & Intercept.SOFTWARE, other))
        self.steps.pop(0)(state)

    def let_interrupts_in(self) -> None:
        self.taken += 1

    def timestamp(self) -> int:
        return self._counter

    def stall(self, microseconds: int) -> None:
        self._counter += microseconds * STEP_KHZ // 1000


def calls(call: int, port: int = abi.PORT_CALL, flags: int = 0) -> Step:
    """OUT of it."""

    def step(vmcb: Vmcb) -> None:
        vmcb.exit, vmcb.rax = Exit.PORT, 0xFFFF_FF00 | call
        vmcb.information[0], vmcb.information[1] = port << 16 | 1 << 4 | flags, vmcb.instruction + 1

    return step


def exits(code: int) -> Step:
    """Any other exit."""

    def step(vmcb: Vmcb) -> None:
        vmcb.exit, vmcb.information[0], vmcb.information[1] = code, 0xE0, 0x1234

    return step


@pytest.fixture(scope="module")
def place() -> Iterator[int]:
    with physical(SIZE) as place:
        yield place


@pytest.fixture
def shell(place: int) -> Iterator[Shell]:
    ctypes.memset(place, 0, SIZE)
    data = ctypes.create_string_buffer(monitor_constants())
    shell = Shell(block=place, processors=1, low=0x9_0000, constants=ctypes.addressof(data))
    block.map_all(shell)
    yield shell
    del data


def start(shell: Shell, *steps: Step) -> tuple[bool, str, Beside]:
    """Whether it powers on, and the line."""
    firmware = Beside(*steps)
    shell.boot = firmware.boot
    with running_on(firmware):
        place_monitor(shell)
        enter(shell)
    assert not firmware.steps
    return not shell.failed, "".join(chr(shell.line[at]) for at in range(shell.length)), firmware


def test_its_memory_and_its_processor_are_as_kvm_has_them(shell: Shell) -> None:
    def look(vmcb: Vmcb) -> None:
        registers = monitor_tables.system_registers(0)
        assert (vmcb.cr0, vmcb.cr3, vmcb.cr4) == (registers.cr0, registers.cr3, registers.cr4)
        assert (vmcb.cs.base, vmcb.cs.limit) == (0, 0xFFFF_FFFF)
        assert vmcb.nested_root == shell.monitor_root
        found = translate(shell.monitor_root, vmcb.instruction)
        assert found is not None
        code = images.monitor_image()
        offset = vmcb.instruction - abi.IMAGE
        assert ctypes.string_at(found[0], 64) == code.code[offset:][:64]
        for address in (vmcb.cr3, vmcb.gdtr.base + 8, vmcb.stack & -8):
            assert translate(shell.monitor_root, address) is not None
        root = translate(shell.monitor_root, vmcb.cr3)
        assert root is not None
        assert load64(root[0]) & NOT_PRESENT, "the tables' own first entry"
        calls(Call.DONE)(vmcb)

    assert start(shell, look)[:2] == (True, "")
    config = Shared.at(shell.block + MONITOR_SHARED).config
    assert (config.cpus, config.domains, config.tsc_khz) == (1, 1, STEP_KHZ)


def test_its_controller_finds_ram_around_what_is_the_shells_and_no_more(shell: Shell) -> None:
    """The block, and the two pages below 1 MiB in which other processors start."""
    shell.low, above = LOW, LOW + block.LOW_SIZE
    shell.memory.add(0, 0x8000_0000)
    shell.memory.add(0x1_0000_0000, 0x2_0000_0000)
    for place, expected in (
        (0x4000_0000, [(above, 0x4000_0000 - above), (0x4000_0000 + SIZE, 0x4000_0000 - SIZE)]),
        (0x10_0000_0000, [(above, 0x8000_0000 - above), (0x8000_0000, 0)]),
    ):
        shell.block, config = place, abi.Config()
        with running_on(firmware := Beside()):
            shell.boot = firmware.boot
            configure(shell, config)
        assert (config.ram.low, config.ram.low_size) == (block.RAM_WINDOW, 0x8000_0000)
        windows = config.nvme[0].windows
        assert [(windows[at].bus, windows[at].size) for at in (0, 1)] == expected
        assert (windows[2].bus, windows[2].size) == (0, LOW)
        for at in (0, 1, 2):
            assert windows[at].address == block.RAM_WINDOW + windows[at].bus
        assert (windows[3].address, windows[3].bus) == (abi.STATE, place + block.MONITOR_STATE)
        assert windows[4].bus == place + block.MONITOR_QUEUES
        assert config.nvme[0].elsewhere == place + block.DECOY


def test_each_processor_has_a_cpu_of_its_beside_it(shell: Shell) -> None:
    firmware = Beside(*(calls(Call.DONE) for _ in range(3)))
    shell.boot, shell.processors = firmware.boot, 3
    entered = []
    with running_on(firmware):
        place_monitor(shell)
        for number in range(3):
            shell.number = number
            vmcb = monitor_vmcb(shell)
            entered.append((vmcb.instruction, vmcb.stack, vmcb.tr.selector, vmcb.nested_root))
            monitor_cpu(shell).exit.reason = 7
            enter(shell)
            assert vmcb.exit == Exit.PORT
            cpu = Cpu.at(shell.block + MONITOR_STACKS + number * abi.STACK_SIZE)
            assert (cpu.index, cpu.exit.reason) == (number, 7)
    assert Shared.at(shell.block + MONITOR_SHARED).config.cpus == 3
    assert len({stack for _, stack, _, _ in entered}) == 3
    assert {root for *_, root in entered} == {shell.monitor_root}


def test_it_goes_on_behind_a_call(shell: Shell) -> None:
    first = monitor_vmcb(shell).instruction
    assert start(shell, calls(Call.ROUTE), calls(Call.LOG), calls(Call.DONE))[0]
    assert monitor_vmcb(shell).instruction != first


def test_what_must_not_wait_is_taken_by_the_host_meanwhile(shell: Shell) -> None:
    done, _, firmware = start(shell, exits(Exit.SMI), calls(Call.DONE))
    assert (done, firmware.taken, shell.pending) == (True, 1, 0)
    done, _, firmware = start(shell, exits(Exit.NMI), exits(Exit.SMI), calls(Call.DONE))
    assert (done, firmware.taken, shell.pending) == (True, 2, 1)


@pytest.mark.parametrize("code", [Exit.EXCEPTION, 0x4E, 0x53, Exit.SOFTWARE])
def test_exceptions_are_taken_with_a_state_of_its_own(shell: Shell, code: int) -> None:
    shell.vmcb = 0x1234_5000
    done, _, firmware = start(shell, exits(code), exits(Exit.NMI), calls(Call.DONE))
    assert done
    assert firmware.asides == [(0, 0, shell.vmcb)]
    vmcb = monitor_vmcb(shell)
    assert (vmcb.exceptions, vmcb.intercepts & Intercept.SOFTWARE) == (
        0xF_7DFB, Intercept.SOFTWARE,
    )  # fmt: skip


def test_a_machine_check_ends_it(shell: Shell) -> None:
    done, line, firmware = start(shell, exits(Exit.MACHINE_CHECK))
    assert (done, firmware.asides) == (False, [])
    assert "exit 00000052" in line


def test_waking_a_worker_is_nothing(shell: Shell) -> None:
    def writes(vmcb: Vmcb) -> None:
        vmcb.exit, vmcb.information[0], vmcb.instruction = Exit.MSR, 1, 0x1000

    assert start(shell, writes, calls(Call.DONE))[0]
    assert monitor_vmcb(shell).instruction == 0x1000 + 2 + 1


def test_a_failed_check_is_told_by_file_and_line(shell: Shell) -> None:
    sites = images.monitor_image().sites

    def panic(vmcb: Vmcb) -> None:
        Cpu.at(shell.block + MONITOR_STACKS).panic.site = len(sites) - 1
        calls(Call.PANIC)(vmcb)

    done, line, _ = start(shell, panic)
    file, number, reason = sites[-1]
    assert not done
    assert line == f"efiemu: PANIC: the monitor failed at {file}:{number}: {reason}"


@pytest.mark.parametrize("site", [0, 1 << 20, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("what", ["code", "runtime", "behind"])
def test_an_exception_is_told_by_its_line(shell: Shell, site: int, what: str) -> None:
    image = images.monitor_image()
    with_line = [offset for offset, _, line in image.lines() if line]
    without = [offset for offset, _, line in image.lines() if not line]
    offset = {"code": with_line[1000] + 1, "runtime": without[0], "behind": image.code_size}[what]

    def panic(vmcb: Vmcb) -> None:
        record = Cpu.at(shell.block + MONITOR_STACKS).panic
        record.site, record.vector, record.error = site, 14, 2
        record.rip, record.address = abi.IMAGE + offset, 0x8
        calls(Call.PANIC)(vmcb)

    done, line, _ = start(shell, panic)
    assert not done
    known = image.line_of(offset)
    assert (known is not None) == (what == "code")
    where = ":".join(map(str, known)) if known else f"{abi.IMAGE + offset:016x}"
    assert line == (
        f"efiemu: PANIC: the monitor failed at {where}: exception 0e, error code 00000002,"
        " address 0000000000000008"
    )


def test_every_line_of_the_monitor_is_found() -> None:
    image = images.monitor_image()
    table = ctypes.create_string_buffer(lines.table(image))
    starts = [offset for offset, _, _ in image.lines()]
    for offset in [0, *starts[:: len(starts) // 100], starts[-1], image.code_size - 1]:
        place, line = line_of(ctypes.addressof(table), offset)
        name = ctypes.string_at(place + 1, ctypes.string_at(place, 1)[0]).decode()
        assert image.line_of(offset) == ((name, line) if line else None)


@pytest.mark.parametrize(
    "step",
    [
        *(exits(0x400), exits(Exit.MSR), exits(0x7F), calls(0, port=0x80), calls(0, flags=IN)),
        *(calls(0, port=abi.PORT_DOORBELL + abi.PINS), calls(0, abi.PORT_DOORBELL + 14, flags=IN)),
    ],
)
def test_what_it_may_not_do_ends_it(shell: Shell, step: Step) -> None:
    done, line, _ = start(shell, step)
    assert not done
    assert ": it left without a call, exit " in line


def test_another_image_is_loaded_as_well(place: int) -> None:
    ctypes.memset(place, 0, SIZE)
    image = failing.image()
    data = ctypes.create_string_buffer(constants([("", 0, "")], image))
    shell = Shell(block=place, constants=ctypes.addressof(data))
    block.map_all(shell)
    with running_on(firmware := Beside()):
        shell.boot = firmware.boot
        place_monitor(shell)
    entry = Vmcb.at(place + MONITOR_CPUS).instruction
    assert entry == abi.IMAGE + image.symbols["vcpu_main"]
