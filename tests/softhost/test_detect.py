"""What is said about a KVM that is missing, forbidden, broken, or slow."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestige.softhost.detect import Kvm, kvm_state


def test_no_device_is_absent_and_the_words_name_it(tmp_path: Path) -> None:
    state = kvm_state(tmp_path / "kvm", tmp_path)
    assert state.kvm is Kvm.ABSENT
    assert str(tmp_path / "kvm") in state.words
    assert state.cure
    assert not state.is_good


@pytest.fixture
def not_root() -> Iterator[None]:
    """Root may open everything: be nobody meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("not_root")
def test_a_device_that_may_not_be_opened_is_forbidden() -> None:
    state = kvm_state(Path("/etc/shadow"))
    assert state.kvm is Kvm.FORBIDDEN
    assert "adduser" in state.cure


def test_a_file_is_not_a_kvm_device(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    state = kvm_state(device, tmp_path)
    assert state.kvm is Kvm.UNUSABLE
    assert "not a KVM device" in state.words


def test_a_directory_does_not_open(tmp_path: Path) -> None:
    assert kvm_state(tmp_path, tmp_path).kvm is Kvm.UNUSABLE


@pytest.mark.kvm
@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="needs a /dev/kvm")
def test_the_page_table_flavour_is_told_from_the_real_one(tmp_path: Path) -> None:
    assert kvm_state(modules=tmp_path).kvm is Kvm.GOOD
    (tmp_path / "kvm_pvm").mkdir()
    assert kvm_state(modules=tmp_path).kvm is Kvm.EMULATES_RING_0
