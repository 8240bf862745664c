"""Entry point of `vestige`: picks the subcommand, turns errors into a line and an exit status."""

import sys
from _collections_abc import Callable, Sequence

from vestige import __version__
from vestige.cli import arguments as words
from vestige.errors import GuestError, UsageError
from vestige.host.messages import UnreadError, bounded, in_one_line, show, tell
from vestige.host.standard_error import StandardError
from vestige.process import prepare

COMMANDS = {
    "run": "start a guest",
    "ps": "list the guests that run",
    "stop": "end guests that run",
    "pause": "have guests that run do nothing until they are resumed",
    "resume": "have guests that are paused go on",
    "freeze": "put a guest that runs, as it is now, into a folder",
    "thaw": "have a guest go on that was frozen",
    "stats": "show the counters of a guest that runs",
    "exec": "run a command in a guest that runs",
    "screen": "show the text screen of a guest that runs",
    "type": "press keys of a guest that runs, and move its mouse",
    "insert": "put another disc into the drive of a guest that runs",
    "eject": "take the disc out of the drive of a guest that runs",
    "doctor": "say what this machine can do, what is missing and how to get it",
    "build": "compile the monitor and cache its image",
    "efiemu": "make an EFI application that takes the machine it is started on over",
    "softhost": "run a command in a software host that has a working /dev/kvm",
}

EXIT_FAILED = 1
EXIT_USAGE = 2


def top_help() -> str:
    """What `vestige --help` prints."""
    return "\n".join(
        [
            "usage: vestige COMMAND ...",
            "",
            "A virtual machine monitor that emulates no device in the host.",
            "",
            *words.table("commands", tuple(COMMANDS.items())),
            "",
            "Begin with `vestige doctor`. `vestige COMMAND --help` says what a command takes;",
            "`vestige --version` says which vestige this is.\n",
        ]
    )


def dispatch(arguments: Sequence[str]) -> int:
    """Run the subcommand that `arguments` names and return its exit status."""
    name = arguments[0] if arguments else None
    if name in words.HELP:
        show(top_help())
        return 0
    if name == "--version":
        show(f"vestige {__version__}\n")
        return 0
    if name not in COMMANDS:
        what = "no command" if name is None else f"{name!r} is not a command"
        raise UsageError(f"{what}; there are {', '.join(COMMANDS)}; see `vestige --help`")
    command = __import__(f"vestige.cli.{name}", fromlist=["run"])  # importlib imports warnings
    syntax: words.Syntax = command.SYNTAX
    own = arguments[1:]
    if any(word in words.HELP for word in own[: own.index("--") if "--" in own else None]):
        show(syntax.help(f"vestige {name}", COMMANDS[name]))
        return 0
    try:
        given = syntax.read(own)
    except UsageError as error:
        raise UsageError(f"{error}; see `vestige {name} --help`") from None
    status: int = command.run(given)
    return status


def told(command: Callable[[], int]) -> int:
    """Call `command`; its exit status, or that of its error, which is told.

    In one line, whatever is in it, but for an error that says it has lines. Nothing that is told
    meanwhile waits for its reader.
    """
    with StandardError():
        return _told(command)


def _told(command: Callable[[], int]) -> int:
    try:
        return command()
    except UnreadError:
        return EXIT_FAILED
    except (GuestError, UsageError, OSError, MemoryError, RuntimeError) as error:
        from vestige.host.limits import line_of  # noqa: PLC0415 - not for a run without errors

        line = line_of(error)
        if line is None:
            raise
        has_lines = isinstance(error, GuestError | UsageError) and error.has_lines
        for each in line.split("\n") if has_lines else [line]:
            tell(bounded(in_one_line(each)))
        return EXIT_FAILED if isinstance(error, GuestError) else EXIT_USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `vestige` with `arguments` (default: the process's own); return the exit status."""
    return told(lambda: dispatch(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    prepare()
    sys.exit(main())
