"""A VNC viewer of RFC 6143, as far as tests take it: what comes is decoded to a picture."""

import struct
import zlib

from vestige.viewer.rfb.formats import OWN, Format
from vestige.viewer.rfb.spec import VERSION, Encoding

SIDE = 64
PIXEL = 4


class Picture:
    """What a viewer has been shown: pixels of 32 bits, or of `form`, row by row."""

    def __init__(self, form: Format = OWN) -> None:
        self.form = form
        self.width = self.height = 0
        self.rows: list[bytearray] = []
        self.name = ""
        self.updates = 0
        self.encodings: list[int] = []  # of all rectangles that came
        self._inflate = {each: zlib.decompressobj() for each in (Encoding.ZLIB, Encoding.ZRLE)}

    def resize(self, width: int, height: int) -> None:
        """To what the server says."""
        self.width, self.height = width, height
        self.rows = [bytearray(width * self.form.size) for _ in range(height)]

    def start(self, data: bytes) -> int:
        """Take ServerInit; the bytes that it has."""
        width, height, length = struct.unpack_from(">HH16xI", data)
        self.resize(width, height)
        self.name = data[24 : 24 + length].decode()
        return 24 + int(length)

    def take(self, data: bytes) -> int:
        """Take an update from the begin of this; the bytes that it has. Raises IndexError or
        struct.error where it isn't whole.
        """
        kind, count = struct.unpack_from(">BxH", data)
        assert kind == 0, kind
        rectangles, place = [], 4
        for _ in range(count):
            header = struct.unpack_from(">HHHHi", data, place)
            place += 12
            first, length = self._pixels(data, place, *header[2:])
            if len(data) < first + length:
                raise IndexError
            rectangles.append((header, data[first : first + length]))
            place = first + length
        for (x, y, width, height, encoding), pixels in rectangles:
            self.encodings.append(encoding)
            if encoding == Encoding.DESKTOP_SIZE:
                self.resize(width, height)
            elif encoding >= 0:
                self._draw(pixels, x, y, width, height, encoding)
        self.updates += 1
        return place

    def _pixels(
        self, data: bytes, place: int, width: int, height: int, encoding: int
    ) -> tuple[int, int]:
        """Where those of a rectangle begin, and how many bytes they have."""
        if encoding < 0:
            return place, 0
        if encoding == Encoding.RAW:
            return place, width * height * self.form.size
        (length,) = struct.unpack_from(">I", data, place)
        return place + 4, length

    def _draw(self, pixels: bytes, x: int, y: int, width: int, height: int, encoding: int) -> None:
        size = self.form.size
        if encoding != Encoding.RAW:
            pixels = self._inflate[Encoding(encoding)].decompress(pixels)
        if encoding == Encoding.ZRLE:
            self._tiles(pixels, x, y, width, height)
            return
        assert len(pixels) == width * height * size
        for row in range(height):
            self._put(x, y + row, pixels[row * width * size : (row + 1) * width * size])

    def _put(self, x: int, y: int, line: bytes) -> None:
        size = self.form.size
        assert 0 <= y < self.height
        assert 0 <= x <= self.width - len(line) // size
        self.rows[y][x * size : x * size + len(line)] = line

    def _tiles(self, data: bytes, x: int, y: int, width: int, height: int) -> None:
        place = 0
        small = 3 if self.form.size == PIXEL else self.form.size
        for top in range(0, height, SIDE):
            for left in range(0, width, SIDE):
                wide, high = min(SIDE, width - left), min(SIDE, height - top)
                kind = data[place]
                count = 1 if kind == 1 else wide * high
                assert kind in (0, 1)
                pixels = data[place + 1 : place + 1 + count * small]
                place += 1 + count * small
                if small != self.form.size:
                    whole = [pixels[at : at + small] + b"\0" for at in range(0, len(pixels), small)]
                    pixels = b"".join(whole)
                if kind == 1:
                    pixels *= wide * high
                for row in range(high):
                    line = pixels[row * wide * self.form.size : (row + 1) * wide * self.form.size]
                    self._put(x + left, y + top + row, line)
        assert place == len(data)


def encodings(*numbers: int) -> bytes:
    """SetEncodings."""
    return struct.pack(f">BxH{len(numbers)}i", 2, len(numbers), *numbers)


def request(width: int, height: int, *, x: int = 0, y: int = 0, again: bool = True) -> bytes:
    """FramebufferUpdateRequest; `again`: of what has changed alone."""
    return struct.pack(">BBHHHH", 3, again, x, y, width, height)


def key(keysym: int, *, down: bool) -> bytes:
    """KeyEvent."""
    return struct.pack(">BBxxI", 4, down, keysym)


def pointer(mask: int, x: int, y: int) -> bytes:
    """PointerEvent."""
    return struct.pack(">BBHH", 5, mask, x, y)


OPENING = VERSION + b"\x01" + b"\x01"  # no password; ClientInit, shared
