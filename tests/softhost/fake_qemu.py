"""Stands in for QEMU: serves the agent's protocol on this machine, without booting anything.

VESTIGE_FAKE_QEMU says how it behaves: `works`; `panics` (says so on its console and ends);
`panics once:FILE` (then works; FILE remembers); `gives up:WORDS` (says these, shows registers, and
is no more); `silent` (never answers); `hangs` (answers the first time, then never again).
"""

import os
import re
import select
import signal
import sys
import tempfile
from pathlib import Path

from vestige.softhost import wire
from vestige.softhost.agent import Agent


def descriptor(name: str) -> int:
    """The descriptor that the command line gives the character device."""
    for argument in sys.argv:
        if found := re.fullmatch(rf"socket,id={name},fd=(\d+)", argument):
            return int(found[1])
    raise SystemExit(f"no character device {name}")


def panic() -> None:
    """End as a kernel does."""
    os.write(descriptor("console"), b"Kernel panic - not syncing: made to\r\n")
    raise SystemExit(0)


def main() -> None:
    """Behave as told."""
    if "--version" in sys.argv:
        print("QEMU emulator version 10.0.0")
        return
    behaviour, _, marker = os.environ["VESTIGE_FAKE_QEMU"].partition(":")
    if behaviour == "panics":
        panic()
    if behaviour == "panics once" and not Path(marker).exists():
        Path(marker).touch()
        panic()
    if behaviour == "gives up":
        os.write(descriptor("console"), f"{marker}\nRAX=0 RBX=0\nRCX=0 RDX=0\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "silent":
        select.poll().poll()
    if os.geteuid() != 0:
        os.setgroups = lambda _groups: None  # only root may, and the groups are right already
    port = descriptor("agent")
    os.set_blocking(port, False)
    for inherited in (port, descriptor("console")):
        os.set_inheritable(inherited, False)  # commands would keep our end open when we die
    runtime = tempfile.TemporaryDirectory()
    agent = Agent(port, runtime.name)
    if behaviour == "hangs":
        os.write(port, wire.encode(wire.READY))
        os.kill(os.getpid(), signal.SIGSTOP)
    agent.serve()
    for command in agent._commands.values():
        os.killpg(command.process, signal.SIGKILL)
    agent.say_stopped()


main()
