"""Agents to talk to: one in memory, with a clock of its own, one at a socket, and Debian's."""

import json
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.guests.programs import programs
from vestige.agent.protocol import MARK
from vestige.agent.talk import Came, Connect, Exchange, Steps

PATIENCE = 30.0  # seconds, for anything
LOOK = 0.01  # seconds between two looks at what tells nobody
T = TypeVar("T")
Answer = Callable[[str, Mapping[str, Any]], bytes]


def line(value: object) -> bytes:
    """An answer."""
    return json.dumps({"return": value}).encode() + b"\n"


def error(text: str) -> bytes:
    """An answer that is an error."""
    return json.dumps({"error": {"class": "GenericError", "desc": text}}).encode() + b"\n"


class Says:
    """What an agent says of what it hears: `answer` of a command's name and arguments.

    guest-sync-delimited it answers as it should, unless `answer` has something for it.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.heard: list[str] = []
        self._coming = b""

    def hears(self, data: bytes) -> bytes:
        """What is to be sent for that."""
        self._coming += data
        *lines, self._coming = self._coming.split(b"\n")
        return b"".join(map(self._answer, lines))

    def _answer(self, asked: bytes) -> bytes:
        told = json.loads(asked[asked.rfind(MARK) + 1 :])
        name, arguments = told["execute"], told.get("arguments", {})
        self.heard.append(name)
        said = self.answer(name, arguments)
        if said or name != "guest-sync-delimited":
            return said
        return bytes((MARK,)) + line(arguments["id"])


class Peer:
    """An agent in memory. Time goes by only where the other side waits for it.

    `before`: what has come of an earlier conversation; `piece`: bytes that come at once.
    """

    def __init__(self, answer: Answer, before: bytes = b"", piece: int = 1 << 16) -> None:
        self.says = Says(answer)
        self.now, self.connections, self.steps = 0.0, 0, 0
        self.going = bytearray(before)
        self.piece = piece
        self.is_gone = False  # it closes the connection once all has been taken

    def have(self, steps: Steps[T]) -> T:
        """The outcome of a conversation with it."""
        came: Came | None = None
        while True:
            try:
                step = next(steps) if came is None else steps.send(came)
            except StopIteration as ended:
                outcome: T = ended.value
                return outcome
            self.steps += 1
            came = self.do(step)

    def do(self, step: Connect | Exchange) -> Came:
        if isinstance(step, Connect):
            self.connections += 1
            return Came(self.now)
        self.going += self.says.hears(bytes(step.data))
        data = bytes(self.going[: self.piece])
        del self.going[: self.piece]
        if not data and self.is_gone:
            return Came(self.now, len(step.data), None)
        if not data and not step.data:
            self.now += step.seconds
        return Came(self.now, len(step.data), data)


@contextmanager
def at_a_socket(path: Path, serve: Callable[[socket.socket], object]) -> Iterator[Path]:
    """Something in the place of an agent: `serve` has one client after the other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(64)

        def body() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(PATIENCE)
                    serve(client)

        thread = threading.Thread(target=body)
        thread.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def saying(answer: Answer) -> Callable[[socket.socket], None]:
    """For `at_a_socket`."""
    says = Says(answer)

    def serve(client: socket.socket) -> None:
        try:
            while data := client.recv(1 << 16):
                client.sendall(says.hears(data))
        except OSError:
            return

    return serve


@contextmanager
def debians(folder: Path) -> Iterator[Path]:
    """The path at which Debian's own agent answers, for this machine.

    Unlike one at a virtio port it ends where a client goes before it has read its answer.
    """
    found = programs("qemu-ga")
    loader = next(path for place, path in found.items() if place.startswith("lib64/"))
    libraries = next(path.parent for place, path in found.items() if place.startswith("lib/"))
    path = folder / "agent"
    agent = subprocess.Popen(
        [
            *(loader, "--library-path", libraries, found["bin/qemu-ga"]),
            *("--method", "unix-listen", "--path", path),
            *("--statedir", folder, "--pidfile", folder / "pid"),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            assert agent.poll() is None, agent.communicate()[1]
            assert time.monotonic() < deadline
            select.select([], [], [], LOOK)
        yield path
    finally:
        agent.terminate()
        agent.communicate()
