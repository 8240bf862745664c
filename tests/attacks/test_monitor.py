"""A subverted monitor in whole, jailed runs: what each attack comes to."""

import json
import os
import resource
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attacks.harness import (
    Attacks,
    assert_lines,
    assert_one_line,
    done,
    killed_at_the_end,
    wait_until,
)
from tests.attacks.monitor import ENDLESS, Attack, Place, Way
from tests.host.harness import PATIENCE, why_not
from vestige import abi
from vestige.host.loop.monitor_log import MOST_LINES

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

KICKS = ("--ring", "kick")
MIB = 1 << 20


def kernel_memory() -> int:
    """Bytes of the kernel's own that it can't give back."""
    text = Path("/proc/meminfo").read_text().partition("SUnreclaim:")[2]
    return int(text.split()[0]) << 10


def assert_given_back(before: int) -> None:
    """The kernel has as much memory of its own as before, or soon: it frees much of it later.

    Other tests run beside this one: what they take for some time is nothing that stays.
    """
    wait_until(lambda: kernel_memory() - before < 16 * MIB)


# ---- the ring ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", ["kick", "poll"])
@pytest.mark.parametrize("attack", [Attack.READS, Attack.UNTAKEN])
def test_entries_without_an_end_end_the_guest(
    attacks: Attacks, image: str, attack: Attack, ring: str
) -> None:
    """Neither what never completes nor what is never taken stays in the kernel's memory."""
    before = kernel_memory()
    reader, writer = os.pipe()  # a console on which nobody types
    words = ("--disk", image, "--ring", ring, "--timeout", str(PATIENCE))
    ended = done([*attacks.words(attack), *words], stdin=reader)
    os.close(reader)
    os.close(writer)
    assert_one_line(ended, b"under way in its ring")
    assert_given_back(before)


@pytest.mark.parametrize("attack", [Attack.OPERATIONS, Attack.ENTRIES, Attack.PRIORITY])
def test_what_a_ring_may_not_do_is_refused(attacks: Attacks, image: str, attack: Attack) -> None:
    before = Path(image).read_bytes()
    ended = done([*attacks.words(attack), "--disk", image, *KICKS])
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert Path(image).read_bytes() == before


def test_no_write_makes_an_image_longer(attacks: Attacks, image: str) -> None:
    before = Path(image).read_bytes()
    ended = done([*attacks.words(Attack.BEHIND), "--disk", image, *KICKS])
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert Path(image).read_bytes() == before[:-512] + b"\x5a" * 512


def test_a_readonly_image_stays_as_it_is(attacks: Attacks, image: str) -> None:
    before = Path(image).read_bytes()
    ended = done([*attacks.words(Attack.BEHIND), "--disk", f"{image},readonly", *KICKS])
    assert_one_line(ended, b"check failed: answer(cpu, ring) == 512")
    assert Path(image).read_bytes() == before


def test_a_consoles_file_is_not_overwritten(attacks: Attacks, tmp_path: Path) -> None:
    file = tmp_path / "console"
    ended = done([*attacks.words(Attack.CONSOLE), "--console", str(file)])
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert file.read_bytes() == b"AAAAAAAABBBBBBBB"


# ---- calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [10, 0x77, 0x80, 0xF0, 255])
def test_a_call_that_there_is_not_ends_the_guest(attacks: Attacks, number: int) -> None:
    ended = done(attacks.words(Attack.CALL, number))
    assert_one_line(ended, b"the monitor made call %d, which there isn't" % number)


@pytest.mark.parametrize("vector", [0, 0x20, 255, 0x120, (1 << 64) - 1])
def test_an_interrupt_that_the_guest_can_not_take_ends_it_at_most(
    attacks: Attacks, vector: int
) -> None:
    ended = done([*attacks.words(Attack.INJECT, vector), "--timeout", "1"])
    assert_lines(ended.stderr, 1)
    assert ended.returncode in (1, 124)


@pytest.mark.parametrize("number", [1, 7, 8, 1 << 32, (1 << 64) - 1])
def test_a_ring_that_there_is_not_ends_the_guest(attacks: Attacks, number: int) -> None:
    ended = done(attacks.words(Attack.KICK, number))
    assert_one_line(ended, b"the monitor kicked ring %d, which there isn't" % number)


@pytest.mark.parametrize(("words", "has_one"), [((), 0), (("--machine", "pc"), 1)])
def test_a_region_is_nowhere_but_in_the_hole(
    attacks: Attacks, words: tuple[str, ...], has_one: int
) -> None:
    ended = done([*attacks.words(Attack.MAP, has_one), *words])
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_region_that_moves_without_end_takes_its_own_time_and_no_memory(attacks: Attacks) -> None:
    before = kernel_memory()
    ended = done([*attacks.words(Attack.REMAP), "--machine", "pc", "--timeout", "1"])
    assert ended.returncode == 124
    assert ended.stderr == b"vestige: the timeout is over\n"
    assert_given_back(before)


@pytest.mark.parametrize("way", [max(abi.Power) + 1, 1 << 32, (1 << 64) - 1])
def test_an_end_in_an_unknown_way_is_one(attacks: Attacks, way: int) -> None:
    ended = done(attacks.words(Attack.POWER, way))
    assert_one_line(ended, b"the monitor ended the guest in way %d, which there isn't" % way)


@pytest.mark.parametrize("attack", [Attack.PIN, Attack.ROUTE])
def test_absurd_arguments_are_answered(attacks: Attacks, attack: Attack) -> None:
    ended = done(attacks.words(attack))
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("address", [1, 0x0123_4567_89AB_CDEF, (1 << 64) - 1])
def test_a_message_that_is_none_is_for_kvm_to_judge(attacks: Attacks, address: int) -> None:
    ended = done(attacks.words(Attack.ROUTE, address))
    assert ended.returncode in (0, 1)
    assert_lines(ended.stderr, ended.returncode)


def test_a_doorbell_for_each_gsi_is_too_many_where_files_are_few(attacks: Attacks) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))

    ended = done(attacks.words(Attack.ROUTES), preexec_fn=few)
    assert_one_line(ended, b"a doorbell: Too many open files")


@pytest.mark.parametrize("way", list(Way))
def test_leaving_by_what_is_no_call_ends_the_guest(attacks: Attacks, way: Way) -> None:
    ended = done(attacks.words(Attack.LEAVE, way))
    assert_one_line(ended, b"the monitor left without a call (")


@pytest.mark.parametrize("bell", [0, 5, 1023, 0xEFFF])
def test_a_doorbell_that_is_not_wired_ends_the_guest(attacks: Attacks, bell: int) -> None:
    ended = done(attacks.words(Attack.BELL, bell))
    assert_one_line(ended, b"the monitor left without a call (")


@pytest.mark.parametrize("kind", range(3))
def test_a_panic_of_nothing_is_told(attacks: Attacks, kind: int) -> None:
    assert_one_line(done(attacks.words(Attack.PANIC, kind)), b"the monitor failed at ")


def test_failures_without_an_end_are_few_lines(attacks: Attacks, image: str) -> None:
    ended = done([*attacks.words(Attack.FAILURES), "--disk", image])
    assert ended.returncode == 0
    assert_lines(ended.stderr, 16)
    assert ended.stderr.count(image.encode()) == 16


# ---- the log ----------------------------------------------------------------------------------


def test_a_log_without_an_end_is_bounded(attacks: Attacks) -> None:
    ended = done([*attacks.words(Attack.LOG), "--timeout", "1"])
    assert ended.returncode == 124
    assert_lines(ended.stderr, MOST_LINES + 2)
    assert b"more lines of the monitor were dropped" in ended.stderr


def test_a_log_that_nobody_reads_holds_up_nothing(attacks: Attacks) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    ended = done([*attacks.words(Attack.LOG), "--timeout", "1"], stderr=writer)
    assert ended.returncode == 124
    os.close(reader)
    os.close(writer)


# ---- what the host reads ----------------------------------------------------------------------


@pytest.mark.parametrize(("parameter", "seed"), [(0xFF, 0), (0, 0), (256, 1), (256, 2)])
def test_anything_where_the_host_reads_harms_nothing(
    attacks: Attacks, image: str, tmp_path: Path, parameter: int, seed: int
) -> None:
    """Config, routes, statistics and the log."""
    stats = tmp_path / "stats.json"
    words = ("--disk", image, "--console", "virtio", "--rng", "--stats", str(stats))
    ended = done([*attacks.words(Attack.SCRIBBLE, parameter, seed), *words])
    assert ended.returncode == 0
    assert_lines(ended.stderr, 20)
    counters = json.loads(stats.read_text())
    assert counters["restarts"] == 0
    assert len(stats.read_bytes()) < 1 << 18


# ---- the processor ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", [Place.CODE, Place.TABLES, Place.NOWHERE])
def test_what_the_monitor_may_not_write_is_a_page_fault(attacks: Attacks, place: Place) -> None:
    ended = done(attacks.words(Attack.TOUCH, place))
    assert_one_line(ended, b"the monitor failed at tests/attacks/monitor.py:")
    assert b": page fault (error code 0x" in ended.stderr


def test_the_page_of_kvms_orders_is_not_there(attacks: Attacks) -> None:
    ended = done(attacks.words(Attack.TOUCH, Place.RUN))
    assert_one_line(ended, b"the monitor left without a call (MMIO, ")


def test_code_is_there_to_be_read(attacks: Attacks) -> None:
    assert done(attacks.words(Attack.TOUCH, Place.ENTRY)).returncode == 0


@pytest.mark.parametrize(
    "number",
    [
        0xC000_0080,  # EFER: SVME
        0xC001_0117,  # VM_HSAVE_PA
        0x3A,  # feature control
        0x10,  # time-stamp counter
        0x1D9,  # DEBUGCTL
        0xC1,  # a performance counter
        0xC001_0201,
        0x4B56_4D00,  # KVM's wall clock, asynchronous page faults, steal time
        0x4B56_4D02,
        0x4B56_4D03,
        0x4000_0000,  # Hyper-V's
    ],
)
def test_an_msr_that_is_not_the_monitors_is_a_fault(attacks: Attacks, number: int) -> None:
    ended = done(attacks.words(Attack.MSR, number))
    assert_one_line(ended, b": general protection fault (error code 0x0)")


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (0x830, 0xC_4500),  # INIT to all others
        (0x830, 0xC_4608),  # STARTUP, in the guest's RAM
        (0x830, 0x8_4400),  # NMI to all
        (0x830, 0x8_4200),  # SMI
        (0x83F, 0x10),
        (0x80F, 0),  # APIC off
        (0x832, 0x2_0030),  # its timer, at a vector that is an exception
        (0x8FF, ENDLESS),
    ],
)
def test_the_local_apic_ends_no_more_than_the_guest(
    attacks: Attacks, register: int, value: int
) -> None:
    ended = done([*attacks.words(Attack.APIC, register, value), "--cpus", "2", "--timeout", "1"])
    assert ended.returncode in (0, 1, 124)
    if ended.returncode:
        assert_lines(ended.stderr, 1)


@pytest.mark.parametrize(
    "attack",
    [Attack.SPIN, Attack.HALT, Attack.DONE, Attack.NOTHING, Attack.ATTEND],
    ids=lambda each: each.name,
)
def test_a_monitor_that_never_answers_is_ended(attacks: Attacks, attack: Attack) -> None:
    ended = done([*attacks.words(attack), "--timeout", "0.3", "--cpus", "2"])
    assert ended.returncode == 124
    assert ended.stderr == b"vestige: the timeout is over\n"


@pytest.mark.parametrize(
    ("attack", "argument"),
    [(Attack.RING, 0), (Attack.RING, 1), (Attack.ALARM, 1), (Attack.ALARM, (1 << 64) - 1)],
)
def test_bells_and_alarms_without_end_take_their_own_time_and_no_memory(
    attacks: Attacks, attack: Attack, argument: int
) -> None:
    before = kernel_memory()
    words = ("--machine", "pc", "--vga", "none", "--timeout", "1")
    ended = done([*attacks.words(attack, argument), *words])
    assert ended.returncode == 124
    assert ended.stderr == b"vestige: the timeout is over\n"
    assert_given_back(before)


def test_a_machine_that_is_no_pc_has_no_bell(attacks: Attacks) -> None:
    assert_one_line(done(attacks.words(Attack.RING)), b"the monitor left without a call (")


@pytest.mark.parametrize("attack", [Attack.SPIN, Attack.HALT], ids=lambda each: each.name)
def test_a_signal_ends_a_monitor_that_never_answers(attacks: Attacks, attack: Attack) -> None:
    process = subprocess.Popen(
        attacks.words(attack, 1),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with killed_at_the_end(process):
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"vestige: monitor: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
