"""A text screen as lines of Unicode: code page 437, that of IBM's ROM font."""

from vestige.screen.seen import Seen

# What the page has where ASCII has control characters: 0 to 31, and 127.
LOW = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
HOUSE = "⌂"
CHARACTERS = (
    LOW
    + bytes(range(len(LOW), 127)).decode("ascii")
    + HOUSE
    + bytes(range(128, 255)).decode("cp437")
    + " "
)


def lines(seen: Seen) -> list[str]:
    """Its rows without the blanks at their ends, and without the empty ones at its end."""
    rows = [
        "".join(CHARACTERS[cell.character] for cell in seen.row(number)).rstrip()
        for number in range(seen.rows)
    ]
    while rows and not rows[-1]:
        rows.pop()
    return rows
