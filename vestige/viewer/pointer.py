"""What a viewer's pointer does, as movements of the guest's mouse or places of its tablet's.

A viewer says where its pointer is on the picture. A PS/2 mouse says how far it was moved: so the
guest's pointer follows, and may be elsewhere. Some viewers can say how far, too. A tablet's pointer
is where the viewer's is. This file is all that knows of the difference.
"""

from collections.abc import Callable

from vestige.abi import EVENT_SIZE, TABLET_END, EventKind

MOST = 255  # of a movement at once, which one report of the mouse can tell
LEFT, RIGHT, MIDDLE = 1, 2, 4  # bits of a record


def pointer_record(buttons: int, right: int = 0, away: int = 0, wheel: int = 0) -> bytes:
    """One of abi/events.py."""
    numbers = b"".join(each.to_bytes(2, "little", signed=True) for each in (right, away, wheel))
    record = bytes((EventKind.POINTER, buttons, 0, 0)) + numbers
    return record.ljust(EVENT_SIZE, b"\0")


class Pointer:
    """One viewer's. `say` takes records."""

    def __init__(self, say: Callable[[bytes], object]) -> None:
        self._say = say
        self._buttons = 0
        self._place: tuple[int, int] | None = None

    def at(self, x: int, y: int, buttons: int, wheel: int) -> None:
        """It is there on the picture now, with these buttons down; `wheel`: turns down."""
        before, self._place = self._place, (x, y)
        right, down = (x - before[0], y - before[1]) if before is not None else (0, 0)
        self.moved(right, down, buttons, wheel)

    def moved(self, right: int, down: int, buttons: int, wheel: int) -> None:
        """It was moved so far."""
        records = b""
        while right or down:
            across, along = (max(-MOST, min(MOST, each)) for each in (right, down))
            records += pointer_record(self._buttons, across, -along)
            right, down = right - across, down - along
        if buttons != self._buttons or wheel:
            self._buttons = buttons
            records += pointer_record(buttons, wheel=wheel)
        if records:
            self._say(records)

    def leave(self) -> None:
        """Its viewer has gone: its buttons are up."""
        self._place = None
        self.moved(0, 0, 0, 0)


class TabletPointer:
    """One viewer's, where the guest has a tablet. `say` takes records."""

    def __init__(self, say: Callable[[bytes], object]) -> None:
        self._say = say
        self._buttons = 0
        self._place = (0, 0)

    def at(self, place: tuple[int, int], size: tuple[int, int], buttons: int, wheel: int) -> None:
        """It is there on a picture of this size, with these buttons down; `wheel`: turns down."""
        x, y = (
            min(at, most - 1) * TABLET_END // max(most - 1, 1)
            for at, most in zip(place, size, strict=True)
        )
        self._place, self._buttons = (x, y), buttons
        self._tell(wheel)

    def leave(self) -> None:
        """Its viewer has gone: its buttons are up."""
        if self._buttons:
            self._buttons = 0
            self._tell(0)

    def _tell(self, wheel: int) -> None:
        places = b"".join(each.to_bytes(2, "little") for each in self._place)
        turns = wheel.to_bytes(2, "little", signed=True)
        self._say(bytes((EventKind.TABLET, self._buttons, 0, 0)) + places + turns)
