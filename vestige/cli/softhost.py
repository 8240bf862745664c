"""`vestige softhost`: runs a command on a machine in software that has a real /dev/kvm."""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import FrameType

from vestige.errors import UsageError
from vestige.host.options import parse_memory
from vestige.softhost import terminal
from vestige.softhost.command import Command, SoftHostError
from vestige.softhost.host import SoftHost

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 10.0  # seconds for the command to end after a signal
_SIGNAL_BASE = 128  # a shell's exit status for what a signal ended


def configure(parser: ArgumentParser) -> None:
    """Add the options of `vestige softhost`."""
    parser.usage = (
        "vestige softhost [--memory SIZE] [--nvme IMAGE]... [--retry] [--verbose] -- COMMAND..."
    )
    parser.add_argument("--memory", metavar="SIZE", default="4G", help="its memory (default: 4G)")
    parser.add_argument(
        "--nvme",
        metavar="IMAGE",
        type=Path,
        action="append",
        default=[],
        help="an NVMe controller over this image, behind an IOMMU and held by vfio-pci; repeatable",
    )
    parser.add_argument("--verbose", action="store_true", help="show the boot console")
    parser.add_argument(
        "--retry",
        action="store_true",
        help="run COMMAND once more, from its beginning, if the software host itself fails",
    )
    parser.add_argument("argv", metavar="COMMAND", nargs="*", help="what to run, after '--'")


class _EndedError(BaseException):
    """A signal asked to end, and there is no command (any more) to pass it to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Signals:
    """Passes signals to the command while there is one; the second ends the software host."""

    def __init__(self) -> None:
        self.command: Command | None = None
        self.number = 0  # of the signal that came

    def install(self) -> None:
        """Handle the signals that end programs."""
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._handle)

    def ignore(self) -> None:
        """Let nothing disturb the end."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.command is None or self.number:
            raise _EndedError(self.number or number)
        self.number = number
        self.command.signal(number)
        signal.setitimer(signal.ITIMER_REAL, _GRACE)
        signal.signal(signal.SIGALRM, self._handle)


def _say(message: str) -> None:
    print(f"vestige: software host: {message}", file=sys.stderr, flush=True)


def run(arguments: Namespace) -> int:
    """Run the command; its exit status. Raises UsageError and GuestError."""
    if not arguments.argv:
        raise UsageError(
            "no command; give one after '--', such as: vestige softhost -- ls /dev/kvm"
        )
    host = SoftHost(
        memory=parse_memory(arguments.memory),
        nvme=arguments.nvme,
        verbose=arguments.verbose,
    )
    signals = _Signals()
    signals.install()
    try:
        host.start(_say)
        try:
            return _run_command(host, arguments.argv, signals)
        except SoftHostError as error:
            if not arguments.retry:
                raise
            _say(f"{error}\nonce more, in a fresh one")
        signals.command = None
        host.stop()
        host.start(_say)
        return _run_command(host, arguments.argv, signals)
    except _EndedError as ended:
        return _SIGNAL_BASE + ended.number
    finally:
        signals.ignore()
        host.stop()


def _run_command(host: SoftHost, argv: list[str], signals: _Signals) -> int:
    interactive = os.isatty(0) and os.isatty(1)
    command = host.spawn(argv, stdin=0, terminal=terminal.size() if interactive else None)
    signals.command = command
    if interactive:
        with terminal.raw(command):
            return command.wait()
    return command.wait()
