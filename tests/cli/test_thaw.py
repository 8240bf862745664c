"""Which MAC a guest has that goes on, and what is told of it where nobody tells the guest."""

from pathlib import Path

import pytest

from vestige.bounds import DEFAULT_MEMORY
from vestige.cli import thaw
from vestige.errors import UsageError
from vestige.host.backends import network
from vestige.host.freeze.snapshot import Snapshot
from vestige.host.options import NetOption, RunOptions

HAD = "52:54:00:00:00:01"
OTHER = "52:54:00:aa:bb:cc"


def snapshot(*words: str) -> Snapshot:
    """One of a guest that was run with these words, without its parts."""
    told = {
        "words": ["--kernel=/k", *words],
        "memory": DEFAULT_MEMORY,
        "cpus": 1,
        "domains": 1,
        "monitor": "",
        "vestige": "",
        "layout": {},
        "identity": "00" * 16,
        "disks": [],
    }
    return Snapshot("web.snapshot", told, {}, {})


def net_of(frozen: Snapshot, *words: str) -> NetOption:
    option = thaw.options_for(frozen, thaw.SYNTAX.read(["web.snapshot", *words])).net
    assert option is not None
    return option


@pytest.mark.parametrize(
    ("words", "way", "mac"),
    [
        ((), "tap:a", HAD),  # whatever has become of the tap
        (("--net", "tap:b"), "tap:b", None),
        (("--net", "tap:b,mac=keep"), "tap:b", HAD),
        (("--net", f"tap:b,mac={OTHER}"), "tap:b", OTHER),
    ],
)
def test_a_guest_that_goes_on_has_the_mac_of_its_tap_unless_it_keeps_its_own(
    words: tuple[str, ...], way: str, mac: str | None
) -> None:
    frozen = snapshot(f"--net=tap:a,mac={HAD}")
    option = net_of(frozen, *words)
    assert (option.way, option.mac and option.mac.hex(":")) == (way, mac)
    assert frozen.mac == bytes.fromhex(HAD.replace(":", ""))


def test_a_manifest_without_its_mac_is_damaged() -> None:
    with pytest.raises(UsageError, match=r"^web.snapshot: its manifest is damaged: .*no MAC"):
        net_of(snapshot("--net=tap:a"))


def told(capsys: pytest.CaptureFixture[str], net: NetOption | None, mac: str | None = HAD) -> str:
    """What is told once the guest runs that was frozen with that MAC, and has no agent."""
    begun: list[str] = []
    had = None if mac is None else bytes.fromhex(mac.replace(":", ""))
    thaw._renewing(RunOptions(kernel="k", net=net), had, lambda: begun.append("begun"))()
    assert begun == ["begun"]
    return capsys.readouterr().err


def test_without_an_agent_it_is_told_that_nobody_tells_the_guest_of_its_mac(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(network, "INTERFACES", str(tmp_path))
    line = told(capsys, NetOption("tap:b"))
    assert line.startswith("vestige: --net tap:b: no frame of the guest's passes, as its MAC is")
    assert line.count("\n") == 1
    assert "give --net tap:b,mac=keep" in line


@pytest.mark.parametrize(
    ("net", "mac"),
    [
        (None, None),
        (NetOption("user"), network.MAC_OF_USER.hex(":")),
        (NetOption("tap:b", bytes.fromhex(HAD.replace(":", ""))), HAD),
    ],
)
def test_a_guest_that_has_the_mac_it_had_needs_no_agent(
    capsys: pytest.CaptureFixture[str], net: NetOption | None, mac: str | None
) -> None:
    assert told(capsys, net, mac) == ""
