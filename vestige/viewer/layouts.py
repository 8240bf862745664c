"""Keyboard layouts: which key of the guest's keyboard makes a character, alone, with Shift, AltGr.

A key is its make code in set 1, as in abi/events.py. Rows as they are engraved, of keyboards with
102 keys; a space is a key that makes nothing there. Dead keys, which change the next character,
make a combining character here.
"""

from collections.abc import Mapping, Sequence

PLAIN, SHIFT, ALTGR, SHIFT_ALTGR = range(4)
# The first code of a row's keys that follow each other: digits, letters above, home row, and below.
ROWS = (0x02, 0x10, 0x1E, 0x2C)
GRAVE, BACKSLASH, LESS, SPACE = 0x29, 0x2B, 0x56, 0x39  # keys beside these rows
Rows = Sequence[str]

# Of each level the four rows, then the keys GRAVE, BACKSLASH, LESS.
LAYOUTS: Mapping[str, Sequence[Rows]] = {
    "us": (
        ("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "`\\ "),
        ("!@#$%^&*()_+", "QWERTYUIOP{}", 'ASDFGHJKL:"', "ZXCVBNM<>?", "~| "),
    ),
    "gb": (
        ("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "`#\\"),
        ('!"£$%^&*()_+', "QWERTYUIOP{}", "ASDFGHJKL:@", "ZXCVBNM<>?", "¬~|"),
        ("   €        ", "  é   úíó   ", "á          ", "          ", "¦  "),
        ("            ", "  É   ÚÍÓ   ", "Á          ", "          ", "   "),
    ),
    "de": (
        ("1234567890ß\u0301", "qwertzuiopü+", "asdfghjklöä", "yxcvbnm,.-", "\u0302#<"),
        ('!"§$%&/()=?\u0300', "QWERTZUIOPÜ*", "ASDFGHJKLÖÄ", "YXCVBNM;:_", "°'>"),
        (" ²³   {[]}\\ ", "@ €        ~", "           ", "      µ   ", "  |"),
    ),
    "fr": (
        ("&é\"'(-è_çà)=", "azertyuiop\u0302$", "qsdfghjklmù", "wxcvbn,;:!", "²*<"),
        ("1234567890°+", "AZERTYUIOP\u0308£", "QSDFGHJKLM%", "WXCVBN?./§", " µ>"),
        (" ~#{[|`\\^@]}", "  €        ¤", "           ", "          ", "   "),
    ),
}
US = "us"
# What a dead key and the space key make.
DEAD = {"^": "\u0302", "`": "\u0300", "\u00b4": "\u0301", "¨": "\u0308"}


def keys_of(layout: str) -> dict[str, tuple[int, int]]:
    """The key of each character, and its level; the key with the lowest level where there are
    several.
    """
    found = {" ": (SPACE, PLAIN)}
    for level, (*rows, others) in enumerate(LAYOUTS[layout]):
        for first, row in zip(ROWS, rows, strict=True):
            for number, character in enumerate(row):
                found.setdefault(character, (first + number, level))
        for code, character in zip((GRAVE, BACKSLASH, LESS), others, strict=True):
            found.setdefault(character, (code, level))
    return found
