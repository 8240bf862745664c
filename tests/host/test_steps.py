"""What a process has of the kernel's, and each of its forks again."""

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from vestige.errors import GuestError
from vestige.host import steps
from vestige.host.kvm.memory import Mapping

FIRST = 300
SIZE = 4096
SYS_GETPID, SYS_FTRUNCATE = 39, 77


def in_fork(does: Callable[[], bool]) -> bool:
    """Whether it holds there."""
    process = os.fork()
    if process == 0:
        holds = False
        try:
            holds = does()
        finally:
            os._exit(0 if holds else 1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_nothing_is_noted_outside() -> None:
    descriptor = steps.eventfd()
    assert descriptor < FIRST
    os.close(descriptor)
    assert steps.call(SYS_GETPID) == os.getpid()
    assert not steps.are_noted()


def test_a_descriptor_is_given_up_and_there_again_by_its_number() -> None:
    noted = steps.Steps(FIRST)
    with noted:
        first, second = steps.eventfd(), steps.eventfd(os.EFD_SEMAPHORE)
        steps.do(lambda: os.eventfd_write(second, 5))
        with steps.Aside():
            aside = steps.eventfd()
    os.close(aside)
    assert (first, second, aside < FIRST) == (FIRST, FIRST + 1, True)
    noted.give_up()
    assert not is_open(first)

    def again() -> bool:
        noted.again()
        ones = [os.eventfd_read(second) for _ in range(5)]
        return ones == [1] * 5 and is_open(first) and not os.get_inheritable(first)

    assert in_fork(again)
    assert in_fork(again)
    assert not is_open(first)


def test_memory_is_there_again_by_its_address() -> None:
    noted = steps.Steps(FIRST)
    with noted:
        file = steps.make(lambda: os.memfd_create("steps", os.MFD_CLOEXEC))
        assert steps.call(SYS_FTRUNCATE, file, SIZE) == 0
        memory = Mapping(file, SIZE)
        memory.view[0] = 7
    noted.give_up()

    def again() -> bool:
        noted.again()
        before = memory.view[0]
        memory.view[0] = 8
        return before == 0 and os.pread(file, 1, 0) == b"\x08"

    assert in_fork(again)


def test_files_of_a_fork_take_the_places_of_others() -> None:
    noted = steps.Steps(FIRST)
    with open(os.devnull, "rb") as null:  # noqa: PTH123
        number = noted.place(null.fileno())
    told: list[int] = []
    with noted, steps.Late():
        steps.do(lambda: told.append(os.fstat(number).st_size))
    noted.give_up()

    def again() -> bool:
        noted.again()
        if len(told) != 1:
            return False
        file = os.memfd_create("file")
        os.truncate(file, 12345)
        steps.take([file], [number])
        noted.again_late()
        return told[1:] == [12345] and not is_open(file)

    assert in_fork(again)


def test_a_kernel_that_answers_otherwise_is_an_error() -> None:
    noted = steps.Steps(FIRST)
    with noted:
        steps.call(SYS_GETPID)
    noted.give_up()

    def again() -> bool:
        try:
            noted.again()
        except GuestError as error:
            return f"answered by {os.getpid()}, and was by {os.getppid()}" in str(error)
        return False

    assert in_fork(again)


@pytest.mark.parametrize("noted", [False, True])
def test_a_call_is_repeated_when_a_signal_comes(
    monkeypatch: pytest.MonkeyPatch, *, noted: bool
) -> None:
    """KVM_CREATE_VM is one that a signal ends."""
    made = os.eventfd(0)
    answers = [-errno.EINTR, -errno.EINTR, made]
    monkeypatch.setattr(steps, "syscall", lambda *_: answers.pop(0))
    with steps.Steps(FIRST) if noted else nullcontext():
        descriptor = steps.make_call(0)
    os.close(descriptor)
    assert descriptor == (FIRST if noted else made)


def test_a_descriptor_that_can_t_be_had_is_no_step() -> None:
    noted = steps.Steps(FIRST)
    with noted:
        assert steps.make(lambda: -errno.EMFILE) == -errno.EMFILE
        with pytest.raises(FileNotFoundError):
            steps.make(lambda: os.open("/nowhere", os.O_RDONLY))
        assert steps.eventfd() == FIRST
    noted.give_up()

    def again() -> bool:
        noted.again()
        return is_open(FIRST) and not is_open(FIRST + 1)

    assert in_fork(again)
