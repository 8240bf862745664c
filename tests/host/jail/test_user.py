"""Another user for the machine's process."""

import os

import pytest

from tests.host.jail.children import told_by_a_child
from vestige.errors import UsageError
from vestige.host.jail import user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@as_root
@pytest.mark.parametrize("word", ["nobody", "65534"])
def test_a_user_is_found_by_name_and_by_number(word: str) -> None:
    assert user.find(word) == (65534, 65534)


@pytest.mark.parametrize("word", ["nosuch", "4000000000", "9" * 30, "-1", ""])
def test_a_user_that_there_is_not_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match=f"--jail uid={word}: no such user"):
        user.find(word)


@pytest.mark.parametrize("word", ["root", "0"])
def test_root_is_no_other_user(word: str) -> None:
    with pytest.raises(UsageError, match="root is the user without it; leave it out"):
        user.find(word)


def test_only_root_can_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root can be another user; leave it out"):
        user.find("nobody")


@as_root
def test_who_is_another_user_is_that_for_good() -> None:
    def work() -> tuple[object, ...]:
        user.become((65534, 65534))
        try:
            os.setuid(0)
        except PermissionError:
            return os.getresuid(), os.getresgid(), os.getgroups()
        return ()

    assert told_by_a_child(work) == [[65534] * 3, [65534] * 3, []]
