"""Guests that are started together, by a command each or by a launcher, and killed together."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.inside.processes import children_of

if TYPE_CHECKING:  # slow to import in a software host, where commands do without
    from vestige.launcher import Machine


class Batch(ABC):
    """The guests of one measurement."""

    @abstractmethod
    def start(self) -> None:
        """One more guest."""

    @abstractmethod
    def guests(self) -> list[int]:
        """The process of each guest."""

    @abstractmethod
    def shared(self) -> list[int]:
        """Processes made for all of them."""

    @abstractmethod
    def end(self) -> None:
        """Kill all, and wait."""


Way = Callable[[int], Batch]  # a batch whose guests write to this descriptor


class Commands(Batch):
    """A command a guest."""

    def __init__(self, output: int, command: tuple[str, ...], errors: Path) -> None:
        """What the commands themselves say goes to the file `errors`."""
        self._output, self._command, self._errors = output, command, errors
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with self._errors.open("ab") as errors:
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=errors
            )
        self._processes.append(process)

    def guests(self) -> list[int]:
        return [process.pid for process in self._processes]

    def shared(self) -> list[int]:
        return []

    def end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


class Machines(Batch):
    """Machines of a launcher."""

    def __init__(self, output: int, start: "Callable[[int], Machine]") -> None:
        """`start` starts one that writes to a descriptor."""
        self._output, self._start = output, start
        self._machines: list[Machine] = []

    def start(self) -> None:
        self._machines.append(self._start(self._output))

    def guests(self) -> list[int]:
        return [machine.pid for machine in self._machines]

    def shared(self) -> list[int]:
        """The template, and the machine that nobody has asked for yet, if there is one."""
        status = Path(f"/proc/{self._machines[0].pid}/status").read_text().split()
        template = int(status[status.index("PPid:") + 1])
        spare = [pid for pid in children_of(template) if pid not in self.guests()]
        return [template, *spare, *(pid for each in spare for pid in children_of(each))]

    def end(self) -> None:
        for machine in self._machines:
            machine.kill()
        for machine in self._machines:
            machine.wait()
            machine.close()
