"""One viewer that looks on, from its first byte to its last: RFC 6143, 7.1 to 7.6.

Nothing here waits, and no socket is here: bytes come in, and bytes are there to be sent.

Threats: whoever connects sends anything, before it has given the password and after. What a message
may be long is bounded; what is to be sent is made only as it is taken; what means nothing ends the
session, and no other.
"""

import struct
from collections.abc import Callable, Iterator

from vestige.viewer.frame import LARGEST, Area, Frame, Tile
from vestige.viewer.keyboard import Keyboard
from vestige.viewer.pointer import LEFT, MIDDLE, RIGHT, Pointer, TabletPointer
from vestige.viewer.rfb import formats
from vestige.viewer.rfb.des import answer
from vestige.viewer.rfb.encodings import Encoder, rectangle
from vestige.viewer.rfb.spec import (
    CHALLENGE_SIZE,
    MOST_ENCODINGS,
    OLDEST,
    QEMU_KEY,
    RELATIVE_ORIGIN,
    SIZES,
    VERSION,
    VERSION_SIZE,
    VERSIONS,
    Button,
    Encoding,
    FromClient,
    Security,
    ToClient,
)

ENOUGH = 256 << 10  # bytes that wait to be sent, before more of an update is made
PIXELS = (Encoding.ZRLE, Encoding.ZLIB, Encoding.RAW)
SAYS_REASONS = 8  # the minor version from which a refusal has a reason
WRONG = b"wrong password"
BUTTONS = {Button.LEFT: LEFT, Button.MIDDLE: MIDDLE, Button.RIGHT: RIGHT}


class Garbage(Exception):
    """What a client sent means nothing."""


class Terms:
    """What holds for all who look on. `password`: of PASSWORD_SIZE characters at most, None: none
    is asked for; `random`: makes so many bytes that nobody can guess; `tablet`: the guest has one.
    """

    __slots__ = ("layout", "name", "password", "random", "tablet")

    def __init__(
        self,
        name: str,
        password: bytes | None,
        layout: str,
        random: Callable[[int], bytes],
        *,
        tablet: bool = False,
    ) -> None:
        self.name, self.password, self.layout, self.random = name, password, layout, random
        self.tablet = tablet


class Session:
    """`going`: bytes to be sent. `is_open`: its handshake is done, password and all; `is_over`: to
    be closed, once `going` is sent; `has_failed`: it gave a wrong password.
    """

    def __init__(self, terms: Terms, frame: Frame, say: Callable[[bytes], object]) -> None:
        """`say` takes records of abi/events.py."""
        self._terms, self._frame = terms, frame
        self.going = bytearray(VERSION)
        self.is_open = self.is_over = self.has_failed = False
        self._coming = bytearray()
        self._skips = 0  # bytes of a text that was cut
        self._next: Callable[[], bool] = self._version
        self._minor = SAYS_REASONS
        self._challenge = b""
        self._form = formats.OWN
        self._convert = formats.converter(formats.OWN)
        self._encoder = Encoder()
        self._encoding = Encoding.RAW
        self._resizes = self._tells_keys = self._is_relative = False
        self._news: list[bytes] = []  # rectangles without pixels that are due
        self._size = frame.mode.size  # as it has been told
        self._dirty: set[Tile] = set()
        self._asked: Area | None = None
        self._update: Iterator[bytes] = iter(())
        self._is_updating = self._has_margins = False
        self._map = b""  # of colours, which is due before the next update
        self._keyboard = Keyboard(say, terms.layout)
        self._pointer = Pointer(say)
        self._tablet = TabletPointer(say) if terms.tablet else None
        self._wheel = 0  # the wheel's bits, as they were last

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._coming += data
        try:
            while not self.is_over and self._skip() and self._next():
                pass
        except (Garbage, ValueError, struct.error):
            self.is_over = True

    def leave(self) -> None:
        """The client has gone."""
        self.is_over = True
        self._keyboard.leave()
        self._pointer.leave()
        if self._tablet is not None:
            self._tablet.leave()

    # ---- what is to be sent -----------------------------------------------------------------

    @property
    def wants(self) -> bool:
        """Whether it waits for what the screen shows, and could be sent that now."""
        is_free = not self.going and not self._is_updating and not self.is_over
        return self._asked is not None and is_free

    def is_new(self, tiles: set[Tile], *, resized: bool) -> None:
        """These have changed; `resized`: and the picture's mode has, so that all are new."""
        if resized:
            self._dirty = self._frame.tiles()
            self._has_margins = not self._resizes
            self._tell_size()
        else:
            self._dirty |= tiles

    def _tell_size(self) -> None:
        """Of the picture, if it is another one than has been told, and can be."""
        self._news = [each for each in self._news if not _is_size(each)]
        if self._resizes and self._frame.mode.size != self._size:
            size = self._frame.mode.size
            self._news.append(rectangle(0, 0, *size, Encoding.DESKTOP_SIZE))

    def fill(self) -> None:
        """Have as much to be sent as is worth it."""
        if self.wants and self._asked is not None:
            self._begin(self._asked)
        while len(self.going) < ENOUGH:
            piece = next(self._update, None)
            if piece is None:
                self._is_updating = False
                return
            self.going += piece

    def _begin(self, asked: Area) -> None:
        """An update, if there is any."""
        news, self._news = self._news, []
        if any(map(_is_size, news)):
            self._size = self._frame.mode.size
            asked = Area(0, 0, *self._size)
        tiles = self._dirty & self._frame.tiles(asked)
        self._dirty -= tiles
        areas = [self._frame.on_picture(each) for each in self._frame.areas(tiles)]
        if self._has_margins:  # of a client for which the picture stays as large as it was
            self._has_margins = False
            width, height = self._frame.mode.size
            areas += [Area(width, 0, LARGEST, height), Area(0, height, LARGEST, LARGEST)]
        areas = [each for each in map(self._cut, areas) if each is not None]
        if not areas and not news:
            return
        self._asked = None
        self.going += self._map
        self._map = b""
        self.going += struct.pack(">BxH", ToClient.UPDATE, len(news) + len(areas))
        self.going += b"".join(news)
        self._update = map(self._encoded, areas)
        self._is_updating = True

    def _cut(self, area: Area) -> Area | None:
        """What of an area of the picture is inside of what the client believes it is."""
        width, height = self._size
        wide, high = min(area.width, width - area.x), min(area.height, height - area.y)
        return Area(area.x, area.y, wide, high) if wide > 0 and high > 0 else None

    def _encoded(self, area: Area) -> bytes:
        """A rectangle, of what is there now: black, where the screen has become smaller."""
        lines = list(map(self._convert, self._frame.picture(area)))
        header = rectangle(*area, self._encoding)
        return header + self._encoder.encoded(self._encoding, self._form, lines)

    # ---- the handshake ----------------------------------------------------------------------

    def _take(self, size: int) -> bytes | None:
        """The next bytes, once so many have come."""
        if len(self._coming) < size:
            return None
        taken = bytes(self._coming[:size])
        del self._coming[:size]
        return taken

    def _version(self) -> bool:
        data = self._take(VERSION_SIZE)
        if data is None:
            return False
        if not data.startswith(b"RFB ") or not data.endswith(b"\n"):
            raise Garbage
        self._minor = VERSIONS.get(data, OLDEST)
        kind = Security.NONE if self._terms.password is None else Security.VNC
        if self._minor == OLDEST:
            self.going += struct.pack(">I", kind)
            self._begin_security(kind)
        else:
            self.going += bytes((1, kind))
            self._next = self._security
        return True

    def _security(self) -> bool:
        data = self._take(1)
        if data is None:
            return False
        kind = Security.NONE if self._terms.password is None else Security.VNC
        if data[0] != kind:
            raise Garbage
        self._begin_security(kind)
        return True

    def _begin_security(self, kind: Security) -> None:
        if kind == Security.VNC:
            self._challenge = self._terms.random(CHALLENGE_SIZE)
            self.going += self._challenge
            self._next = self._response
        else:
            if self._minor == SAYS_REASONS:
                self.going += bytes(4)
            self._next = self._client_init

    def _response(self) -> bool:
        data = self._take(CHALLENGE_SIZE)
        if data is None:
            return False
        password = self._terms.password or b""
        if data != answer(password, self._challenge):  # of a challenge that comes once
            self.has_failed = self.is_over = True
            self.going += struct.pack(">I", 1)
            if self._minor == SAYS_REASONS:
                self.going += struct.pack(">I", len(WRONG)) + WRONG
            return False
        self.going += bytes(4)
        self._next = self._client_init
        return True

    def _client_init(self) -> bool:
        if self._take(1) is None:  # whether others may look on, too: they may
            return False
        self.is_open = True
        name = self._terms.name.encode()
        self._size = self._frame.mode.size
        self._dirty = self._frame.tiles()  # it has seen nothing, whatever it asks for first
        self.going += struct.pack(">HH", *self._size) + formats.OWN.packed()
        self.going += struct.pack(">I", len(name)) + name
        self._next = self._message
        return True

    # ---- messages -----------------------------------------------------------------------------

    def _skip(self) -> bool:
        """Pass over what is to be passed over; whether all of it has come."""
        passed = min(self._skips, len(self._coming))
        del self._coming[:passed]
        self._skips -= passed
        return not self._skips

    def _message(self) -> bool:
        if not self._coming:
            return False
        kind = self._coming[0]
        if kind not in SIZES:
            raise Garbage
        size = SIZES[FromClient(kind)]
        if kind == FromClient.SET_ENCODINGS and len(self._coming) >= size:
            count = int.from_bytes(self._coming[2:4], "big")
            if count > MOST_ENCODINGS:
                raise Garbage
            size += 4 * count
        data = self._take(size)
        if data is None:
            return False
        match kind:
            case FromClient.SET_PIXEL_FORMAT:
                self._set_format(data)
            case FromClient.SET_ENCODINGS:
                self._set_encodings([number for (number,) in struct.iter_unpack(">i", data[4:])])
            case FromClient.UPDATE_REQUEST:
                self._ask(data)
            case FromClient.KEY:
                _, down, keysym = struct.unpack(">BBxxI", data)
                self._keyboard.key(keysym, down=bool(down))
            case FromClient.POINTER:
                self._point(*struct.unpack(">xBHH", data))
            case FromClient.CUT_TEXT:  # of a clipboard, of which the guest has none
                self._skips = abs(int.from_bytes(data[4:], "big", signed=True))
            case FromClient.QEMU:
                self._qemu(data)
        return True

    def _set_format(self, data: bytes) -> None:
        self._form = formats.read(data[4:])
        mapped = not self._form.true_colour
        self._convert = formats.converter(formats.MAPPED if mapped else self._form)
        if mapped:
            header = struct.pack(">BxHH", ToClient.COLOUR_MAP, 0, formats.COLOURS)
            self._map = header + formats.colour_map()

    def _set_encodings(self, encodings: list[int]) -> None:
        known = [each for each in encodings if each in PIXELS]
        self._encoding = Encoding(known[0]) if known else Encoding.RAW
        self._resizes = Encoding.DESKTOP_SIZE in encodings
        if Encoding.EXTENDED_KEY in encodings and not self._tells_keys:
            self._tells_keys = True
            self._news.append(rectangle(0, 0, 0, 0, Encoding.EXTENDED_KEY))
        moves = Encoding.POINTER_MOTION in encodings and self._tablet is None
        if moves and not self._is_relative:
            self._is_relative = True
            self._news.append(rectangle(0, 0, 0, 0, Encoding.POINTER_MOTION))
        self._tell_size()

    def _ask(self, data: bytes) -> None:
        incremental, *place = struct.unpack(">xB4H", data)
        area = Area(*place)
        if not incremental:
            self._dirty |= self._frame.tiles(area)
        before = self._asked
        self._asked = area if before is None else _around(before, area)

    def _point(self, mask: int, x: int, y: int) -> None:
        buttons = sum(ours for theirs, ours in BUTTONS.items() if mask & theirs)
        turned = mask & ~self._wheel
        self._wheel = mask & (Button.WHEEL_UP | Button.WHEEL_DOWN)
        wheel = bool(turned & Button.WHEEL_DOWN) - bool(turned & Button.WHEEL_UP)
        if self._tablet is not None:
            self._tablet.at((x, y), self._size, buttons, wheel)
        elif self._is_relative:
            right, down = x - RELATIVE_ORIGIN, y - RELATIVE_ORIGIN
            self._pointer.moved(right, down, buttons, wheel)
        else:
            self._pointer.at(x, y, buttons, wheel)

    def _qemu(self, data: bytes) -> None:
        kind, down, _, code = struct.unpack(">xBHII", data)
        if kind != QEMU_KEY or not self._tells_keys:
            raise Garbage
        self._keyboard.code(code, down=bool(down))


def _around(first: Area, second: Area) -> Area:
    """What has both."""
    x, y = min(first.x, second.x), min(first.y, second.y)
    right = max(first.x + first.width, second.x + second.width)
    bottom = max(first.y + first.height, second.y + second.height)
    return Area(x, y, right - x, bottom - y)


def _is_size(news: bytes) -> bool:
    return news.endswith(Encoding.DESKTOP_SIZE.to_bytes(4, "big", signed=True))
