"""Any bytes of those who look on: the viewer lets them go, or goes on, and others see the screen.

    python -m tests.viewer.fuzz_rfb [--count N] [--seconds S] [--seed N]

The whole viewer is here but for its process: real sockets, a screen in files that changes, a client
that knows the protocol and checks each picture, and several that send it changed, in pieces, with
passwords and without, and read much, little or nothing.
"""

import os
import random
import socket
import struct
import sys
from contextlib import closing

from tests.devices import fuzzing
from tests.host.viewer.test_look import Machine, set_graphics, set_text
from tests.viewer.rfb.client import Picture, encodings, key, pointer, request
from vestige.abi import EVENT_SIZE
from vestige.host.process.link import Kind, Link, pair
from vestige.host.viewer.inner import Viewer
from vestige.host.viewer.outer import believed
from vestige.viewer.frame import Area
from vestige.viewer.rfb import formats
from vestige.viewer.rfb.des import answer
from vestige.viewer.rfb.session import Terms
from vestige.viewer.rfb.spec import VERSION, Encoding

DEFAULT = 2000
OPEN = 4  # the stage of a session in which it sees the screen
PASSWORD, NAME = b"fuzzed", "it"
ENCODINGS = (0, 6, 16, -223, -257, -258, 7, 1 << 30)
MOST_GOING = 4 << 20  # bytes that wait for one client


class Good:
    """A client that knows the password, and is to see the screen as it is."""

    def __init__(self, link: Link) -> None:
        self.end = connected(link)
        self.picture = Picture()
        self.data = b""
        self.stage = 0
        self.asks = True

    def turn(self) -> None:
        """Take what has come, and ask again."""
        self.data += received(self.end)
        if self.stage == 0 and len(self.data) >= 12:
            self._say(12, VERSION)
        elif self.stage == 1 and len(self.data) >= 2:
            assert self.data[:2] == b"\x01\x02"
            self._say(2, b"\x02")
        elif self.stage == 2 and len(self.data) >= 16:
            self._say(16, answer(PASSWORD, self.data[:16]) + b"\x01")
        elif self.stage == 3 and len(self.data) >= 4 + 24 + len(NAME):
            assert self.data[:4] == bytes(4)
            used = self.picture.start(self.data[4:])
            self._say(4 + used, encodings(Encoding.ZRLE, Encoding.DESKTOP_SIZE))
        elif self.stage == OPEN:
            self._look()

    def _say(self, used: int, data: bytes) -> None:
        """The next of the opening, once so much has come."""
        self.data = self.data[used:]
        self.end.sendall(data)
        self.stage += 1

    def _look(self) -> None:
        if self.asks:
            self.end.sendall(request(16_384, 16_384))
            self.asks = False
        if self.data:
            try:
                used = self.picture.take(self.data)
            except (IndexError, struct.error):  # it isn't whole
                return
            self.data = self.data[used:]
            self.asks = True


class Bad:
    """One that sends anything."""

    def __init__(self, link: Link, chance: random.Random) -> None:
        self.end = connected(link)
        self._chance = chance
        self._reads = chance.random() < 0.8
        self._data = b""
        self._opens = chance.random() < 0.8
        self.is_over = False

    def turn(self) -> None:
        """Send a piece, or go."""
        chance = self._chance
        if self._reads:
            self._data += received(self.end)
        if chance.random() < 0.02:
            self.is_over = True
            return
        piece = self._opening() if self._opens else self._message()
        if chance.random() < 0.1 and piece:
            place = chance.randrange(len(piece))
            piece = piece[:place] + bytes((chance.randrange(256),)) + piece[place + 1 :]
        if chance.random() < 0.05:
            piece = piece[: chance.randrange(len(piece) + 1)]
        try:
            self.end.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            self.is_over = True

    def _opening(self) -> bytes:
        """What opens the session, if all of it has come."""
        if len(self._data) < 12 + 2:
            return b"" if self._data.startswith(VERSION) else VERSION
        if len(self._data) < 12 + 2 + 16:
            return b"\x02" if len(self._data) == 14 else b""
        self._opens = False
        word = PASSWORD if self._chance.random() < 0.9 else b"wrong"
        init = b"\x01" if self._chance.random() < 0.9 else b""  # or it says no more for a while
        return answer(word, self._data[14:30]) + init

    def _message(self) -> bytes:
        chance = self._chance
        numbers = [chance.choice((0, 1, 63, 64, 700, 0x7FFF, 0xFFFF)) for _ in range(4)]
        kind = chance.randrange(9)
        if kind == 0:
            count = chance.randrange(8)
            return encodings(*(chance.choice(ENCODINGS) for _ in range(count)))
        if kind == 1:
            form = formats.OWN._replace(
                bits=chance.choice((8, 16, 32)),
                big_endian=bool(chance.randrange(2)),
                true_colour=bool(chance.randrange(4)),
            )
            if form.bits < 32:
                form = form._replace(red_most=7, green_most=7, blue_most=3, red_shift=0)
                form = form._replace(green_shift=3, blue_shift=6, depth=8)
            return b"\0\0\0\0" + form.packed()
        if kind in (2, 3, 4):
            x, y, width, height = numbers
            return request(width, height, x=x, y=y, again=bool(chance.randrange(2)))
        if kind == 5:
            return key(chance.choice((0x61, 0x41, 0xFFE1, 0x100263A, 0)), down=bool(kind % 2))
        if kind == 6:
            return pointer(chance.randrange(256), *numbers[:2])
        if kind == 7:
            return struct.pack(">B3xI", 6, chance.choice((0, 10, 1 << 31)))
        return chance.randbytes(chance.randrange(40))

    def close(self) -> None:
        self.end.close()


def connected(link: Link) -> socket.socket:
    """A client's end, whose other the viewer gets."""
    ours, its = socket.socketpair()
    its.setblocking(False)
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    link.send_along(Kind.CLIENT, b"", its.fileno())
    its.close()
    return ours


def received(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 22)
    except (BlockingIOError, ConnectionResetError):
        return b""


def change(machine: Machine, chance: random.Random) -> None:
    """What a guest does."""
    kind = chance.randrange(20)
    if kind == 0:
        set_text(machine)
    elif kind == 1:
        depth = chance.choice((8, 15, 16, 24, 32))
        width, height = chance.choice(((320, 200), (640, 350), (64, 65)))
        pitch = width * -(-depth // 8)
        set_graphics(machine, width=width, height=height, depth=depth, pitch=pitch)
    elif kind == 2:
        machine.set(kind=0)
    elif kind < 8:
        place = chance.randrange(1 << 17)
        machine.ram.region.view[0xA0000 + place] = chance.randrange(256)
    else:
        place = chance.randrange(320 * 200)
        machine.regions[0].view[place] = chance.randrange(256)


class Rounds:
    """The viewer, its machine, and all that look on."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._near, far = pair()
        self._far = far
        os.set_blocking(far.fileno(), False)
        self._machine = Machine(sees=self._near)
        self._viewer = Viewer(far, Terms(NAME, PASSWORD, "de", os.urandom))
        self._good = Good(self._near)
        self._bad: list[Bad] = []
        while self._good.stage < OPEN:  # of many strangers the first is let go
            self._good.turn()
            self._viewer.turn(0.001)

    def round(self) -> None:
        """One change, one piece of each, one turn of the viewer."""
        change(self._machine, self._chance)
        if len(self._bad) < 4 and self._chance.random() < 0.3:
            self._bad.append(Bad(self._near, self._chance))
        for bad in self._bad:
            bad.turn()
        for bad in [each for each in self._bad if each.is_over]:
            self._bad.remove(bad)
            bad.close()
        self._good.turn()
        assert self._viewer.turn(0.001)
        for message in self._near.waiting():
            assert message is not None
            kind, data, _ = message
            assert kind == Kind.EVENTS
            assert believed(data) == data, data.hex()
            assert len(data) % EVENT_SIZE == 0
        assert self._viewer.waits <= 4 * MOST_GOING

    def settle(self) -> None:
        """The good one sees the screen as it is, once that stands still."""
        for _ in range(20_000):
            self._good.turn()
            self._viewer.turn(0.001)
            if self._sees():
                return
        raise AssertionError("the good client does not see the screen as it is")

    def _sees(self) -> bool:
        mode, lines = self._machine.look.take()
        frame = self._viewer.frame
        if (frame.mode, list(frame.lines)) != (mode, list(lines)):
            return False
        picture = self._good.picture
        if (picture.width, picture.height) != mode.size:
            return False
        own = frame.picture(Area(0, 0, *mode.size))
        return all(
            mine[0::4] == its[0::4] and mine[1::4] == its[1::4] and mine[2::4] == its[2::4]
            for mine, its in zip(own, picture.rows, strict=True)
        )

    def close(self) -> None:
        """Let all go."""
        for bad in self._bad:
            bad.close()
        self._good.end.close()
        self._machine.close()
        self._near.close()
        self._far.close()


def fuzz(limit: fuzzing.Limit, chance: random.Random) -> tuple[int, str | None]:
    """How many rounds there were, and what went wrong."""
    done = 0
    with closing(Rounds(chance)) as rounds:
        try:
            while limit.left(done):
                rounds.round()
                done += 1
                if done % 500 == 0:
                    rounds.settle()
            rounds.settle()
        except fuzzing.FAILURES as error:
            return done, repr(error)
    return done, None


if __name__ == "__main__":
    sys.exit(fuzzing.main(__doc__, "rfb", "rounds", DEFAULT, fuzz))
