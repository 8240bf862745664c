"""All layers in one process, and what is told of those that are off."""

import os
from pathlib import Path

import pytest

from tests.host.jail.children import told_by_a_child
from vestige.host import images
from vestige.host.jail import landlock, layers, probe


def test_a_process_with_all_layers_on_has_no_privilege() -> None:
    status = os.open("/proc/self/status", os.O_RDONLY)  # of the parent: to see that it is open
    os.close(status)

    def work() -> dict[str, str]:
        descriptor = os.open("/proc/self/status", os.O_RDONLY)
        put_on = layers.Layers(None)
        put_on.leave_everything()
        text = os.read(descriptor, 8192).decode()
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return {name: fields[name] for name in ("CapEff", "CapPrm", "CapInh", "NoNewPrivs")}

    found = told_by_a_child(work, apart=True)
    assert set(found.values()) == {"0" * 16, "1"}
    assert found["NoNewPrivs"] == "1"


def test_a_layer_that_the_kernel_refuses_is_off_and_the_others_are_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(landlock, "refuse_all", refuse)

    def work() -> tuple[dict[str, str], str]:
        put_on = layers.Layers("Operation not permitted")
        put_on.leave_everything()
        put_on.confine(None)
        return put_on.problems, layers.words(put_on.problems)

    problems, words = told_by_a_child(work)
    assert list(problems) == [name for name in probe.NAMES if name != layers.CAPABILITIES]
    assert words == (
        "namespaces (Operation not permitted), an empty file system (it needs namespaces), Landlock"
        " (Operation not supported), seccomp (libseccomp is not there; install libseccomp2)"
    )


def test_the_probe_tells_what_a_run_would_find(monkeypatch: pytest.MonkeyPatch) -> None:
    program = images.call_filter()
    assert program
    found = probe.problems(program)
    assert set(found) <= set(probe.NAMES)
    assert all(name in probe.there(found) for name in probe.NAMES if name not in found)
    assert probe.problems(None)[layers.SECCOMP].startswith("libseccomp is not there")
    assert Path("/dev/null").exists()  # this process has all that it had
    monkeypatch.setattr(landlock, "version", lambda: 3)
    assert "Landlock 3" in probe.there({})
