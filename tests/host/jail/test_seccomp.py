"""How a process is locked in where another program listens already."""

import errno

import pytest

from vestige.host.jail import seccomp


@pytest.mark.parametrize("error", [errno.EPERM, errno.EINVAL])
def test_a_filter_that_can_not_be_loaded_is_an_error_with_and_without_questions(
    monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    answers = [-errno.EBUSY, -error]
    monkeypatch.setattr(seccomp, "_load", lambda _program, _flags: answers.pop(0))
    with pytest.raises(OSError, match=r"Operation not permitted|Invalid argument"):
        seccomp.confine(bytes(8))
    assert not answers


def test_where_another_program_listens_the_kernel_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = seccomp.RETURN + seccomp.NOTIFY.to_bytes(4, "little")
    kills = seccomp.RETURN + seccomp.KILL_PROCESS.to_bytes(4, "little")
    loaded: list[bytes] = []

    def load(program: bytes, flags: int) -> int:
        loaded.append(program)
        return -errno.EBUSY if flags & seccomp.NEW_LISTENER else 0

    monkeypatch.setattr(seccomp, "_load", load)
    assert seccomp.confine(bytes(8) + asks) == -1
    assert loaded == [bytes(8) + asks, bytes(8) + kills]
