"""What a thaw is given that is not what its guest was run with: which option, and what to give."""

import pytest

from vestige.cli.run import SYNTAX, options_of
from vestige.errors import UsageError
from vestige.host.freeze.given import check_kinds, check_same
from vestige.host.options import RunOptions


def asked(*words: str) -> RunOptions:
    return options_of(SYNTAX.read(["--kernel", "k", *words]))


PC = ("--machine", "pc")
KINDS = [
    ("--keys", "f", (), "keyboard and no tablet"),
    ("--display", "vnc", ("--machine", "pc", "--vga", "none"), "screen"),
    ("--disk", "d", (), "disk"),
    ("--cdrom", "none", ("--disk", "d"), "drive for discs"),
    ("--floppy", "none", PC, "floppy drive"),
    ("--port", "a=f", ("--agent",), "port"),
    ("--net", "user", (), "network interface"),
]


@pytest.mark.parametrize(("option", "word", "before", "device"), KINDS)
def test_an_option_of_what_the_guest_has_not_is_named(
    option: str, word: str, before: tuple[str, ...], device: str
) -> None:
    with pytest.raises(UsageError) as told:
        check_kinds("s", asked(*before), {option: word}.get)
    assert str(told.value) == f"{option} {word}: the guest of s has no {device}; leave it out"


def test_a_flag_of_what_the_guest_has_not_is_named() -> None:
    with pytest.raises(UsageError, match=r"^--agent: the guest of s has no port of --agent; leave"):
        check_kinds("s", asked(), {"--agent": ""}.get)


def test_what_the_guest_has_may_be_given() -> None:
    words = ("--disk", "d", "--cdrom", "none", "--floppy", "none", "--port", "a=f", "--agent")
    before = asked(*PC, *words, "--net", "user")
    check_kinds("s", before, lambda _: "given")
    check_same("s", before, before)


OTHERS = [
    ("--disk a", "--disk b --disk c", "--disk b, c: 2 given, .* with 1, a; give as many --disk"),
    ("--disk a --disk b", "--disk b", "--disk b: 1 given, .* with 2, a, b; give as many"),
    ("--disk a", "--disk b,bus=ide", "--disk b: bus=ide, and in s it is on virtio; give --disk b$"),
    ("--disk a,bus=ide", "--disk b", "--disk b: bus=virtio, .* on ide; give --disk b,bus=ide$"),
    ("--disk a", "--disk b,readonly", "--disk b: readonly, .* to be written; give --disk b$"),
    (
        "--disk a,overlay=temporary,discard=unmap",
        "--disk b,,c,readonly,format=raw",
        "--disk b,c: readonly, .* it is written, to overlay=temporary; give --disk"
        " b,,c,discard=unmap,format=raw,overlay=temporary$",
    ),
    ("--disk a,readonly", "--disk b", "--disk b: to be w.* readonly; give --disk b,readonly$"),
    ("--disk a", "--disk b,discard=unmap", "--disk b: discard=.* without; give --disk b$"),
    ("--disk a,discard=unmap", "--disk b", "--disk b: no disc.* give --disk b,discard=unmap$"),
    ("--disk a", "--disk b,overlay=temporary", "overlay=temporary, and .* none; give --disk b$"),
    (
        "--disk a,overlay=o",
        "--disk b,overlay=p,bus=ide",
        "--disk b: bus=ide, .* give --disk b,overlay=p$",
    ),
    (
        "--cdrom a,format=raw",
        "--cdrom none",
        "--cdrom none: .* give --cdrom a,format=raw, and change it then$",
    ),
    ("--disk a,overlay=o", "--disk b", "no overlay, .* overlay=o; give --disk b,overlay=o$"),
    (
        "--disk a,overlay=temporary",
        "--disk b,overlay=o",
        "overlay=o, and in s it has overlay=temporary; give --disk b,overlay=temporary$",
    ),
    ("--disk a", "--disk vfio:01:00.0", "vfio:0000:01:00.0: no frozen guest .* frozen with, a$"),
    ("--cdrom none", "--cdrom a", "--cdrom a: the drive had nothing in it .* give --cdrom none"),
    (
        "--cdrom a",
        "--cdrom none",
        "--cdrom none: the drive had a in it .* give --cdrom a, and",
    ),
    (
        "--machine pc --floppy a --floppy none",
        "--machine pc --floppy none --floppy b",
        "--floppy none: the drive had a in it when s was frozen; give --floppy a$",
    ),
    ("--port a=f --port b=g", "--port c=h", "--port c=h: .* no such port; give --port a=…, --port"),
    ("--port a=f --port b=g", "--port a=h", "--port a=h: the guest of s has port b, too; give"),
    ("--console virtio", "--console f", "--console f: .* virtio console; give --console virtio:f"),
    ("--console f", "--console virtio:g", "--console virtio:g: .* serial port; give --console g"),
    ("--net user", "--net tap:t", "--net tap:t: .* frozen with --net user; give --net user"),
    ("--net tap:t", "--net user", "--net user: .* frozen with --net tap:t; give --net tap:NAME"),
]


@pytest.mark.parametrize(("before", "now", "line"), OTHERS)
def test_what_is_of_another_kind_is_refused_by_what_to_give(
    before: str, now: str, line: str
) -> None:
    with pytest.raises(UsageError, match=line) as told:
        check_same("s", asked(*before.split()), asked(*now.split()))
    option = now.removeprefix("--machine pc ").split(maxsplit=1)[0]
    assert str(told.value).startswith(option)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("--disk a,overlay=o", "--disk b,overlay=p"),
        ("--disk a,format=raw", "--disk b"),
        ("--console virtio:f", "--console virtio,early:g"),
        ("--net user", "--net user,host-loopback"),
        ("--net tap:a", "--net tap:b"),
    ],
)
def test_what_the_guest_can_not_tell_may_be_another(before: str, now: str) -> None:
    check_same("s", asked(*before.split()), asked(*now.split()))


def test_ports_have_the_order_that_they_had_however_they_are_given() -> None:
    before = asked("--port", "a=f", "--port", "b=g", "--agent")
    now = asked("--port", "b=x", "--port", "a=y", "--agent")
    check_same("s", before, now)
    assert [port.name for port in now.ports] == [port.name for port in before.ports]
    assert [port.backend for port in now.ports[:2]] == ["y", "x"]
