"""Entry point of `vestige`: picks the subcommand, turns errors into a line and an exit status."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from vestige.errors import GuestError, UsageError

COMMANDS = {
    "run": "start a guest",
    "doctor": "say what this machine can do, what is missing and how to get it",
    "build": "compile the monitor and cache its image",
    "softhost": "run a command in a software host that has a working /dev/kvm",
}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Parser(argparse.ArgumentParser):
    """argparse with the house's error format: one line, exit status 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise instead of printing the usage before the line that matters."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def parser_for(command: str | None) -> Parser:
    """The whole command's parser, with `command`'s own options filled in."""
    top = Parser(
        prog="vestige",
        description="A virtual machine monitor that emulates no device in the host.",
        allow_abbrev=False,
    )
    subcommands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = subcommands.add_parser(
            name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False
        )
        if name == command:
            import_module(f"vestige.cli.{name}").configure(sub)
    return top


def dispatch(arguments: Sequence[str]) -> int:
    """Run the subcommand that `arguments` names and return its exit status."""
    command = next((word for word in arguments if not word.startswith("-")), None)
    options = parser_for(command).parse_args(arguments)
    status: int = import_module(f"vestige.cli.{options.command}").run(options)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `vestige` with `arguments` (default: the process's own); return the exit status."""
    try:
        return dispatch(sys.argv[1:] if arguments is None else arguments)
    except UsageError as error:
        print(f"vestige: {error}", file=sys.stderr)
        return EXIT_USAGE
    except GuestError as error:
        print(f"vestige: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("vestige: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
