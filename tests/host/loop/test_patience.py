"""How a worker is scheduled, by what the ring takes at a KICK: a scripted kernel."""

import os

import pytest

from tests import compiling
from vestige.host import images
from vestige.host.loop import patience
from vestige.host.loop.patience import (
    LOOK,
    MUCH,
    SCHED_BATCH,
    SCHED_OTHER,
    STAY,
    SYS_SCHED_SETSCHEDULER,
    TRIAL,
    Patience,
)


class Thread:
    """A worker's, whose guest asks for `deep` entries at a time where the worker lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: int = SCHED_OTHER) -> None:
        self.policy = policy
        self.policies: list[int] = []
        self.answer = 0
        self.given = 0  # times that the CPU was to serve
        monkeypatch.setattr(patience, "syscall", self.syscall)
        self.patience = Patience()
        self.patience.start(policy)

    def syscall(self, number: int, thread: int, policy: int, *_rest: int) -> int:
        assert (number, thread) == (SYS_SCHED_SETSCHEDULER, 0)
        self.policies.append(policy)
        if self.answer == 0:
            self.policy = policy
        return self.answer

    def run(
        self, kicks: int, deep: int, shallow: int = 1, *, alone: bool = False, moved: int = 0
    ) -> int:
        """So many KICKs; the entries of all of them. `alone`: of one request each. `moved`: bytes
        of a network, each.
        """
        taken = 0
        for _ in range(kicks):
            entries = deep if self.policy == SCHED_BATCH else shallow
            self.given += self.patience.kicked(entries, alone, moved)
            taken += entries
        return taken


def test_a_guest_with_many_requests_at_a_time_has_a_patient_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=8)
    assert thread.policy == SCHED_BATCH
    assert thread.run(10 * STAY, deep=8) > 10 * STAY * 8 * 0.9


def test_a_guest_with_one_request_at_a_time_has_an_impatient_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=1)
    assert thread.policy == SCHED_OTHER
    patient = 0
    for _ in range(10 * STAY):
        patient += thread.policy == SCHED_BATCH
        thread.run(1, deep=1)
    assert patient < 10 * STAY * 0.1


def test_entries_of_one_request_are_no_reason_to_be_patient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=33, shallow=33)
    assert thread.policy == SCHED_OTHER


def test_a_guest_that_changes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=1)
    thread.run(STAY + 2 * TRIAL, deep=8)
    assert thread.policy == SCHED_BATCH
    thread.run(STAY + 2 * TRIAL, deep=1)
    assert thread.policy == SCHED_OTHER


@pytest.mark.parametrize("entries", [1, 33])
def test_where_requests_come_alone_either_way_the_cpu_is_to_serve(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL - 1, deep=entries, shallow=entries, alone=True)
    assert thread.given == 0
    thread.run(1, deep=entries, shallow=entries, alone=True)
    assert thread.given == 1
    assert thread.policy == SCHED_BATCH
    thread.run(3 * LOOK, deep=entries, shallow=entries, alone=True)
    assert thread.given == 4


def test_one_request_that_is_not_alone_has_the_worker_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(2 * TRIAL, deep=1, alone=True)
    thread.run(1, deep=1, alone=False)
    thread.run(STAY // 2, deep=1, alone=True)
    assert thread.given == 0
    assert thread.policy == SCHED_OTHER


def test_a_patient_worker_notices_that_many_at_a_time_are_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=8)
    assert thread.policy == SCHED_BATCH
    thread.run(3 * TRIAL, deep=1, alone=True)
    assert thread.given == 1


def test_behind_the_cpus_time_many_requests_are_noticed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=1, alone=True)
    thread.run(1 + 2 * TRIAL, deep=8, alone=False)
    assert thread.given == 1
    assert thread.policy == SCHED_BATCH
    assert thread.run(STAY, deep=8) == 8 * STAY


def test_a_network_that_moves_much_has_a_patient_worker_without_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(10 * STAY, deep=2, shallow=2, moved=MUCH)
    assert thread.policies == [SCHED_BATCH]


def test_behind_that_frames_that_are_waited_for_have_an_impatient_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(2 * TRIAL, deep=2, shallow=2, moved=60_000)
    thread.run(TRIAL, deep=1, moved=66)
    assert thread.policy == SCHED_OTHER
    thread.run(2 * TRIAL, deep=1, moved=66)
    assert thread.policies == [SCHED_BATCH, SCHED_OTHER, SCHED_BATCH, SCHED_OTHER]


def test_disks_that_are_asked_much_keep_a_patient_one_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(2 * TRIAL, deep=8, moved=60_000)
    thread.run(4 * TRIAL, deep=8)
    assert thread.policy == SCHED_BATCH


def test_a_count_that_is_none_is_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Thread(monkeypatch)
    thread.run(STAY, deep=1, moved=(1 << 64) - 1)
    assert thread.policies == [SCHED_BATCH]


def test_frames_by_the_way_are_no_reason_for_a_cpu_to_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = Thread(monkeypatch)
    thread.run(3 * TRIAL, deep=1, alone=True, moved=MUCH)
    assert thread.given == 0


@pytest.mark.parametrize("policy", [os.SCHED_BATCH, os.SCHED_FIFO, os.SCHED_RR, os.SCHED_IDLE])
def test_a_policy_that_the_user_chose_is_left_alone(
    policy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = Thread(monkeypatch, policy)
    thread.run(2 * STAY, deep=8)
    assert thread.policies == []


def test_what_the_kernel_refuses_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Thread(monkeypatch)
    thread.answer = -1
    thread.run(2 * STAY, deep=8)
    assert thread.policies == [SCHED_BATCH]


def test_the_kernel_takes_it_from_compiled_code() -> None:
    """A trial of patience, of this thread, and back again."""
    native = compiling.native([Patience.kicked])
    mine = Patience()
    mine.start(os.sched_getscheduler(0))
    if not mine.adapts:
        pytest.skip("needs to run with the usual policy")
    seen = []
    for _ in range(3 * TRIAL):
        assert not native["Patience.kicked"](mine, 1, False, 0)
        seen.append(os.sched_getscheduler(0))
    assert seen == [SCHED_OTHER] * (2 * TRIAL - 1) + [SCHED_BATCH] * TRIAL + [SCHED_OTHER]


def test_the_compiled_images_depend_on_every_file_they_were_made_from() -> None:
    images.ensure()
    for image in (images.monitor_image(), images.run_loop_image()):
        places = {image.line_of(offset) for offset in range(image.code_size)}
        files = {place[0] for place in places if place is not None}
        assert files
        for file in files:
            inside = file.partition("vestige/")[2]
            known = (*images.SOURCES, "abi", "lang")
            assert any(inside == each or inside.startswith(f"{each}/") for each in known), file
