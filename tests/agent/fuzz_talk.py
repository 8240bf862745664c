"""Agents that say anything: each conversation ends, in one line or as it should.

    python -m tests.agent.fuzz_talk --count 20000 --seed 1

Prints the number of conversations and the seed; exit status 1 at a failure.
"""

import random
import sys
from collections.abc import Mapping
from typing import Any

from tests.agent.peers import Peer
from tests.agent.test_operations import Guest
from tests.devices.fuzzing import Limit, main
from vestige.agent import operations
from vestige.agent.operations import Done
from vestige.agent.talk import Steps, Talk
from vestige.errors import GuestError, UsageError

DEFAULT = 20_000  # conversations
PATIENCE = 5.0
MOST_TIME = 60.0  # seconds by the other side's clock
MOST_STEPS = 100_000
MOST_HELD = 1 << 20  # bytes
LONGEST = 1000  # characters of an error
WORDS = (
    *(b'"return"', b'"error"', b'"desc"', b'"pid"', b'"exited"', b'"signal"', b'"out-data"'),
    *(
        b"true",
        b"false",
        b"null",
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 30,
        b'""',
        b'"AA=="',
        b'"\\ud800"',
    ),
    *(b"{", b"}", b"[", b"]", b":", b",", b"\n", b"\xff", b"\0", b"\xc3"),
)


class Liar(Guest):
    """Damages some of what it says."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(ends=chance.randrange(12), dies=chance.random() < 0.5)
        self._chance, self._rate = chance, chance.choice((0.02, 0.2, 1.0))
        self.file = (
            bytes(chance.randrange(3 * operations.PIECE)) if chance.random() < 0.05 else b"x"
        )

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        said = super().__call__(name, arguments)
        if self._chance.random() >= self._rate:
            return said
        return self._damaged(bytearray(said or b'\xff{"return": %d}\n' % arguments.get("id", 0)))

    def _damaged(self, said: bytearray) -> bytes:
        for _ in range(self._chance.randrange(1, 4)):
            place = self._chance.randrange(len(said) + 1)
            match self._chance.randrange(5):
                case 0:
                    said[place : place + 1] = self._chance.randbytes(1)
                case 1:
                    said[place:place] = self._chance.choice(WORDS)
                case 2:
                    del said[place : place + self._chance.randrange(20)]
                case 3:
                    said[place:place] = said[: self._chance.randrange(len(said) + 1)]
                case 4:
                    word = self._chance.choice(WORDS)
                    said[place:place] = word * self._chance.choice((1, 1000, 100_000 // len(word)))
        return bytes(said)


class Patient(Peer):
    """Notes what a conversation holds, and gives it up when it goes on for too long."""

    def __init__(self, liar: Liar, talk: Talk, chance: random.Random) -> None:
        before = chance.randbytes(chance.randrange(50)) if chance.random() < 0.3 else b""
        super().__init__(liar, before, piece=chance.choice((50, 1 << 16, 1 << 16)))
        self._talk = talk

    def do(self, step: Any) -> Any:
        held = len(self._talk._coming)
        if held > MOST_HELD or self.steps > MOST_STEPS or self.now > MOST_TIME:
            raise AssertionError(f"{held} bytes, {self.steps} steps, {self.now:.0f} s")
        return super().do(step)


def conversation(talk: Talk, chance: random.Random) -> Steps[object]:
    """One of those that there are."""
    match chance.randrange(4):
        case 0:
            return operations.ping(talk)
        case 1:
            return operations.run(talk, ["true"], timeout=chance.choice((None, 0.02, 1.0)))
        case 2:
            return operations.read_file(talk, "/f", chance.choice((0, 10, 1 << 30)))
        case _:
            return operations.write_file(talk, "/f", bytes(chance.choice((0, 5, 300_000))))


def problem_of(chance: random.Random) -> str | None:
    """What is wrong with the end of a conversation."""
    talk = Talk(PATIENCE, chance.getrandbits(40))
    peer = Patient(Liar(chance), talk, chance)
    try:
        outcome = peer.have(conversation(talk, chance))
    except (GuestError, UsageError) as error:
        line = str(error)
        return None if line.isprintable() and len(line) <= LONGEST else f"said {line!r}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    if outcome is None or isinstance(outcome, Done | bytes):
        return None
    return f"answered {outcome!r}"


def fuzz(limit: Limit, chance: random.Random) -> tuple[int, str | None]:
    """Talk to liars; how often, and what went wrong."""
    done = 0
    while limit.left(done):
        seed = chance.getrandbits(64)
        problem = problem_of(random.Random(seed))
        if problem is not None:
            return done, f"{problem}; problem_of(random.Random({seed}))"
        done += 1
    return done, None


if __name__ == "__main__":
    sys.exit(main(__doc__, "agents", "conversations", DEFAULT, fuzz))
