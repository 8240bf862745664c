"""Numbers as options and files have them, which Python takes in more ways."""

CHARACTERS = frozenset("0123456789-.e")


def plain(text: str) -> str:
    """`text`, of which int or float make a number. Raises ValueError for what only Python takes.

    That is digits of all scripts, _ between them, blanks and a + before them.
    """
    if not CHARACTERS.issuperset(text):
        raise ValueError(f"{text!r} is no plain number")
    return text
