"""What every subcommand has in common: help, one line for what is wrong, exit statuses."""

from importlib.metadata import version

import pytest

from vestige.cli import main as cli
from vestige.cli import run as run_command
from vestige.errors import GuestError, UsageError
from vestige.lang.errors import Refusal, Rule


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vestige {version('vestige')}\n"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_own_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"usage: vestige {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [],
            "no command; there are run, ps, stop, pause, resume, freeze, thaw, stats, exec,"
            " screen, type, insert, eject, doctor, build, efiemu, softhost; see `vestige --help`",
        ),
        (
            ["frob"],
            "'frob' is not a command; there are run, ps, stop, pause, resume, freeze, thaw, stats,"
            " exec, screen, type,"
            " insert, eject, doctor, build, efiemu, softhost",
        ),
        (["--verbose", "run"], "'--verbose' is not a command"),
        (["doctor", "now"], "unrecognized arguments: now; see `vestige doctor --help`"),
        (["build", "--listing=all"], "argument --listing: takes no word, not 'all'"),
        (["run", "--kernel", "--initrd", "i"], "argument --kernel: expected one argument"),
        (["run"], "--kernel: give one; or --machine pc, whose firmware boots the first disk"),
        (["run", "--kernel", "k", "--frob"], "unrecognized arguments: --frob"),
        (["run", "--kernel"], "argument --kernel: expected one argument"),
        (["run", "--kernel", "k", "--mem", "1G"], "unrecognized arguments: --mem 1G"),
        (["run", "--kernel", "k", "--memory", "much"], "--memory much: not a size"),
        (["run", "--kernel", "k", "--cpus", "33"], "--cpus 33: give a number from 1 to 32"),
        (["run", "--kernel", "k", "--cpus", "9" * 5000], ": give a number from 1 to 32"),
        (["run", "--kernel", "k", "--timeout", "9" * 5000], ": give a time above 0"),
        (["run", "--kernel", "k", "--timeout", "0"], "--timeout 0: give a time above 0"),
        (["run", "--kernel", "k", "--disk", "a,bus=scsi"], "--disk a,bus=scsi: no bus 'scsi'"),
        (["run", "--kernel", "k", "--disk", "a,fast"], "--disk a,fast: unknown option 'fast'"),
        (
            ["run", "--kernel", "k", *["--disk", "a"] * 5],
            "5 disks: a guest has at most 4, on whichever bus",
        ),
        (["run", "--kernel", "k", "--accel", "hvf"], "--accel hvf: there are auto, kvm, soft"),
        (["run", "--kernel", "k", "--ide", "nonsense"], "--ide nonsense: there are ports, memory"),
        (["run", "--kernel", ""], "--kernel: an empty path; give that of a file"),
        (["run", "--kernel", "k", "--initrd="], "--initrd: an empty path"),
        (["run", "--kernel", "k", "--stats="], "--stats: an empty path"),
        (
            ["run", "--kernel", "k", "--keys", "f"],
            "--keys: a PC's keyboard, or a tablet; give --machine pc or --tablet, too",
        ),
        (["run", *["--cdrom", "none"] * 2], "--cdrom none and none: there is one drive; `vestige"),
        (["run", "--display=vnc", "--display=text"], "--display vnc and text: one is all"),
        (
            ["run", "--kernel", "k", "--agent", "--port", "org.qemu.guest_agent.0=f"],
            "--port org.qemu.guest_agent.0: the port of --agent, which listens in the control's",
        ),
        (
            ["run", "--kernel", "k", "--agent", *(f"--port={n}={n}" for n in "abcdef")],
            "7 ports: there may be at most 6; give fewer --port, as --agent is one",
        ),
        (["exec"], "no name; `vestige ps` shows those that there are"),
        (["exec", "web"], "no command for web; give one: vestige exec web -- COMMAND"),
        (["exec", "web", "ls", "-l"], "unrecognized arguments: -l; see `vestige exec --help`"),
        (["exec", "--env", "A", "web", "ls"], "--env A: give NAME=VALUE"),
        (["exec", "--env", "=A", "web", "ls"], "--env =A: give NAME=VALUE"),
        (["exec", "--timeout", "0", "web", "ls"], "--timeout 0: give a time above 0"),
        (["exec", "--wait", "x", "web", "ls"], "--wait x: give a time above 0"),
        (["exec", "--input", "/none", "web", "ls"], "--input /none: No such file or directory"),
        (["run", "--kernel", "k", "--keys="], "--keys : no name; give unix:PATH or a file's path"),
        (["run", "--kernel", "k", "--keys", "unix:"], "--keys unix:: no name; give unix:PATH"),
        (
            ["run", "--kernel", "k", "--name", "7"],
            "--name 7: digits alone are the name",
        ),
        (["insert", "web", ",ro"], "insert ,ro: no path; give an ISO image's, or none"),
        (["insert", "web", "a.iso,ro"], "insert a.iso,ro: unknown option 'ro'; there are format"),
        (["insert", "web", "a,format=vhd"], "insert a,format=vhd: no format 'vhd'; an image is"),
        (["softhost"], "no command; give one after '--'"),
        (["a\nb\x1b[1m\udcff"], r"a\nb\x1b[1m\udcff' is not a command"),
        (["run", "--kernel", "a\nb", "--accel", "kvm"], r"a\nb: no such file"),
    ],
)
def test_bad_words_get_one_line_and_status_2(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == cli.EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("vestige: ")
    assert line in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("no such image"), 2, "vestige: no such image\n"),
        (GuestError("the monitor failed"), 1, "vestige: the monitor failed\n"),
        (GuestError("a\nb\x1b[1m"), 1, "vestige: a\\nb\\x1b[1m\n"),
        (
            Refusal(Rule.FIELD, "no b", "have b", file="a.py", line=1, column=3, source="a.b"),
            2,
            "vestige: a.py:1:3: refused (field): no b\nvestige:     a.b\nvestige:       ^\n"
            "vestige:     cure: have b\n",
        ),
    ],
)
def test_what_goes_wrong_decides_the_exit_status(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_arguments: object) -> int:
        raise error

    monkeypatch.setattr(run_command, "run", fail)
    assert cli.main(["run", "--kernel", "k"]) == status
    assert capsys.readouterr().err == line
