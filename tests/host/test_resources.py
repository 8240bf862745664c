"""What a run has open is closed in the end, the last first."""

import os

import pytest

from vestige.host.resources import Resources


class Resource:
    """Notes when it is closed; closing one named "bad" fails."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name, self._closed = name, closed

    def close(self) -> None:
        self._closed.append(self.name)
        if self.name == "bad":
            raise ZeroDivisionError


def test_the_last_is_closed_first() -> None:
    closed: list[str] = []
    with Resources() as resources:
        assert resources.keep(Resource("a", closed)).name == "a"
        resources.keep(Resource("b", closed))
        assert closed == []
    assert closed == ["b", "a"]


def test_all_are_closed_where_one_fails() -> None:
    closed: list[str] = []
    resources = Resources()
    for name in ("a", "bad", "b", "bad", "c"):
        resources.keep(Resource(name, closed))
    with pytest.raises(ZeroDivisionError):
        resources.close()
    assert closed == ["c", "bad", "b", "bad", "a"]


def test_an_error_inside_goes_on_after_closing() -> None:
    closed: list[str] = []

    def fail() -> None:
        with Resources() as resources:
            resources.keep(Resource("a", closed))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert closed == ["a"]


def test_a_descriptor_is_closed() -> None:
    with Resources() as resources:
        descriptor = resources.keep_file(os.eventfd(0))
        assert os.fstat(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
