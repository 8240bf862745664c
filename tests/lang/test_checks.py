"""Each check of compiled code ends in a PANIC that names file and line: here, and in a VM."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kvm_payload import Payload, needs_kvm
from tests.kvm_payload import payload as payload_vm
from tests.lang import payload
from tests.lang.payload import UNMAPPED, Failure
from vestige import abi
from vestige.lang.build import compile_functions
from vestige.lang.image import Image
from vestige.lang.intrinsics import CheckFailed
from vestige.lang.memory import Memory
from vestige.lang.native import NativeImage, PanicError

FILE = "tests/lang/payload.py"
RAM = ctypes.create_string_buffer(4096)
SOURCE = Path(payload.__file__).read_text().splitlines()

# What fails, with which value; the source line; the reason; what CPython raises.
CHECKS = [
    (Failure.INDEX, 16, "scratch.bytes[", "index outside an array of 16", IndexError),
    (Failure.INDEX, -1, "scratch.bytes[", "index outside an array of 16", IndexError),
    (Failure.TABLE_INDEX, 3, "TABLE[u64", "index outside an array of 3", IndexError),
    (Failure.DIVISION, 0, "100 // value", "division by zero", ZeroDivisionError),
    (Failure.MODULO, 0, "100 % value", "division by zero", ZeroDivisionError),
    (Failure.SHIFT, -1, ">> value", "negative shift count", ValueError),
    (Failure.GUEST_MEMORY, 1 << 21, "ram.load32(", "check failed in Memory.load32", CheckFailed),
    (Failure.GUEST_MEMORY, -1, "ram.load32(", "check failed in Memory.load32", CheckFailed),
    (Failure.CHECK, 2, "check(value", "check failed: value == 1", CheckFailed),
    (Failure.PANIC, 2, "panic(77)", "panic(77)", CheckFailed),
]
each_check = pytest.mark.parametrize(("kind", "value", "text", "reason", "error"), CHECKS, ids=str)


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(SOURCE, 1) if text in line)


@pytest.fixture(scope="module")
def native() -> NativeImage:
    functions: tuple[Callable[..., int], ...] = (payload.fail, payload.moved)
    return NativeImage(compile_functions(functions, base=None, runtime="process"))


@pytest.fixture(scope="module")
def ram() -> Memory:
    return Memory(low=ctypes.addressof(RAM), low_size=ctypes.sizeof(RAM))


@each_check
def test_a_failed_check_raises_panic_with_file_and_line(
    native: NativeImage,
    ram: Memory,
    kind: Failure,
    value: int,
    text: str,
    reason: str,
    error: type[Exception],
) -> None:
    with pytest.raises(PanicError) as caught:
        native["fail"](payload.Scratch(), ram, kind, value)
    assert (caught.value.file, caught.value.line) == (FILE, line_of(text))
    assert caught.value.reason == reason
    assert str(caught.value) == f"{FILE}:{line_of(text)}: {reason}"
    with pytest.raises(error):
        payload.fail(payload.Scratch(), ram, kind, value)


@pytest.mark.parametrize("kind", [kind for kind in Failure if kind != Failure.PAGE_FAULT])
def test_what_does_not_fail_is_what_cpython_says(
    native: NativeImage, ram: Memory, kind: Failure
) -> None:
    scratch = payload.Scratch(number=-12345)
    expected = payload.fail(scratch, ram, kind, 1)
    assert native["fail"](scratch, ram, kind, 1) == expected


def test_a_panic_leaves_the_process_able_to_go_on(native: NativeImage, ram: Memory) -> None:
    for _ in range(1000):
        with pytest.raises(PanicError):
            native["fail"](payload.Scratch(), ram, Failure.CHECK, 0)
    assert native["fail"](payload.Scratch(), ram, Failure.CHECK, 1) == 1


def test_copies_that_overlap_are_memmoves(native: NativeImage) -> None:
    here, there = payload.Scratch(), payload.Scratch()
    assert native["moved"](here) == payload.moved(there)
    assert bytes(here) == bytes(there)


# ---- in a VM -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def image() -> Image:
    functions = [payload.vcpu_main, payload.worker_main]
    return compile_functions(functions, base=abi.IMAGE, runtime="monitor")


@pytest.fixture
def vm(image: Image) -> Iterator[Payload]:
    needs_kvm()
    with payload_vm(image) as ready:
        yield ready


@pytest.mark.kvm
@each_check
def test_in_a_vm_a_failed_check_is_a_panic_call_that_names_file_and_line(
    vm: Payload, kind: Failure, value: int, text: str, reason: str, error: type[Exception]
) -> None:
    del error
    assert vm.run(kind, value & (1 << 64) - 1) == abi.Call.PANIC
    assert vm.code.site(vm.cpu.panic.site) == f"{FILE}:{line_of(text)}: {reason}"


@pytest.mark.kvm
def test_in_a_vm_a_panic_is_never_answered(vm: Payload) -> None:
    assert vm.run(Failure.CHECK, 0) == abi.Call.PANIC
    assert vm.run() == abi.Call.PANIC


@pytest.mark.kvm
def test_in_a_vm_what_does_not_fail_goes_on(vm: Payload) -> None:
    assert vm.run(Failure.DIVISION, 7) == abi.Call.DONE
    assert vm.cpu.argument[3] == 14
    assert vm.cpu.argument[2] == payload.moved(payload.Scratch())
    assert vm.cpu.calls[0] == 1


@pytest.mark.kvm
def test_in_a_vm_an_exception_says_where_and_what(vm: Payload) -> None:
    assert vm.run(Failure.PAGE_FAULT, UNMAPPED) == abi.Call.PANIC
    assert (vm.cpu.panic.site, vm.cpu.panic.vector) == (0, 14)
    assert vm.cpu.panic.address == UNMAPPED
    assert vm.code.line(vm.cpu.panic.rip) == f"{FILE}:{line_of('return load8')}"


@pytest.mark.kvm
def test_in_a_vm_address_0_is_memory_like_any_other(vm: Payload) -> None:
    vm.twin.memory.region.view[0] = 0x5A
    assert vm.run(Failure.PAGE_FAULT, 0) == abi.Call.DONE
    assert vm.cpu.argument[3] == 0x5A
