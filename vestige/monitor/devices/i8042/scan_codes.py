"""Scan codes of sets 1 and 2, and what the controller's translation makes of set 2.

IBM Personal System/2 Hardware Interface Technical Reference (1988), "Keyboards (101- and 102-Key)",
"Scan Codes". A key is named by its make code in set 1, with 0xE000 where E0 comes before it.
"""

EXTENDED = 0xE0  # before the codes of a key that an older keyboard did not have
RELEASED = 0xF0  # before a break code in set 2
BREAK = 0x80  # set in a break code of set 1

PAUSE = 0xE11D
PRINT_SCREEN = 0xE037
SHIFT = 0x2A  # Print Screen pretends that it is held

# Pause sends its break code with its make code.
PAUSE_SET_1 = bytes.fromhex("E1 1D 45 E1 9D C5")
PAUSE_SET_2 = bytes.fromhex("E1 14 77 E1 F0 14 F0 77")
LONGEST = 8  # bytes that one key sends at once

OVERRUN_SET_1 = 0xFF
OVERRUN_SET_2 = 0x00

# By code in set 2. From 0x80 on there are two keys (F7, and Print Screen with Alt); other bytes of
# a keyboard, its answers among them, stay as they are.
TRANSLATED_LOW = bytes.fromhex(
    "FF 43 41 3F 3D 3B 3C 58 64 44 42 40 3E 0F 29 59"
    "65 38 2A 70 1D 10 02 5A 66 71 2C 1F 1E 11 03 5B"
    "67 2E 2D 20 12 05 04 5C 68 39 2F 21 14 13 06 5D"
    "69 31 30 23 22 15 07 5E 6A 72 32 24 16 08 09 5F"
    "6B 33 25 17 18 0B 0A 60 6C 34 35 26 27 19 0C 61"
    "6D 73 28 74 1A 0D 62 6E 3A 36 1C 1B 75 2B 63 76"
    "55 56 77 78 79 7A 0E 7B 7C 4F 7D 4B 47 7E 7F 6F"
    "52 53 50 4C 4D 48 01 45 57 4E 51 4A 37 49 46 54"
)
TRANSLATED_KEYS = {0x83: 0x41, 0x84: 0x54}
TRANSLATED = TRANSLATED_LOW + bytes(
    TRANSLATED_KEYS.get(code, code) for code in range(len(TRANSLATED_LOW), 256)
)
# By make code in set 1. Of two codes that become the same, the greater is a key's.
SET_2 = bytes(TRANSLATED.rindex(code) for code in range(1, BREAK)).rjust(BREAK, b"\0")
