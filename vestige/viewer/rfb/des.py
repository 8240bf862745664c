"""DES, as far as VNC's authentication takes it: one block encrypted. FIPS PUB 46-3.

Not for secrets: 56 bits of key are few. RFB's password is an obstacle, and its connection is in the
clear; what DES protects here is the password, of eight characters, from who listens by chance.
"""

from collections.abc import Sequence

BLOCK = 8  # bytes; of a key, too

# The standard counts bits from 1, the first is the highest.
INITIAL = (
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4,
    62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
    57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3,
    61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
)  # fmt: skip
FINAL = tuple(INITIAL.index(bit) + 1 for bit in range(1, 65))
EXPANSION = tuple((4 * row + column - 1) % 32 + 1 for row in range(8) for column in range(6))
PERMUTATION = (
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
    2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
)  # fmt: skip
CHOICE_1 = (
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18,
    10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22,
    14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
)  # fmt: skip
CHOICE_2 = (
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4,
    26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30, 40,
    51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
)  # fmt: skip
SHIFTS = (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1)
HALF = 28  # bits of half a key
# S1 to S8: four rows of sixteen, each number a hexadecimal digit.
BOXES = tuple(
    bytes(int(digit, 16) for digit in rows.replace(" ", ""))
    for rows in (
        "e4d12fb83a6c5907 0f74e2d1a6cb9538 41e8d62bfc973a50 fc8249175b3ea06d",
        "f18e6b34972dc05a 3d47f28ec01a69b5 0e7ba4d158c6932f d8a13f42b67c05e9",
        "a09e63f51dc7b428 d709346a285ecbf1 d6498f30b12c5ae7 1ad069874fe3b52c",
        "7de3069a1285bc4f d8b56f03472c1ae9 a690cb7df13e5284 3f06a1d8945bc72e",
        "2c417ab6853fd0e9 eb2c47d150fa3986 421bad78f9c5630e b8c71e2d6f09a453",
        "c1af92680d34e75b af427c9561de0b38 9ef528c3704a1db6 432c95fabe17608d",
        "4b2ef08d3c975a61 d0b7491ae35c2f86 14bdc37eaf680592 6bd814a7950fe23c",
        "d2846fb1a93e50c7 1fd8a374c56b0e92 7b419ce206adf358 21e74a8dfc90356b",
    )
)


def encrypted(key: bytes, block: bytes) -> bytes:
    """A block by a key, both of BLOCK bytes; the lowest bit of each of the key's means nothing."""
    bits = _picked(int.from_bytes(block, "big"), 64, INITIAL)
    left, right = bits >> 32, bits & 0xFFFF_FFFF
    for subkey in _subkeys(int.from_bytes(key, "big")):
        left, right = right, left ^ _mixed(right, subkey)
    return _picked(right << 32 | left, 64, FINAL).to_bytes(BLOCK, "big")


def _subkeys(key: int) -> list[int]:
    """One a round, of 48 bits."""
    halves = _picked(key, 64, CHOICE_1)
    left, right = halves >> HALF, halves & (1 << HALF) - 1
    found = []
    for shift in SHIFTS:
        left, right = _rotated(left, shift), _rotated(right, shift)
        found.append(_picked(left << HALF | right, 2 * HALF, CHOICE_2))
    return found


def _rotated(half: int, shift: int) -> int:
    return (half << shift | half >> HALF - shift) & (1 << HALF) - 1


def _mixed(half: int, subkey: int) -> int:
    """The function f of half a block."""
    bits = _picked(half, 32, EXPANSION) ^ subkey
    mixed = 0
    for number, box in enumerate(BOXES):
        six = bits >> 42 - 6 * number & 0x3F
        row = six >> 4 & 2 | six & 1
        mixed = mixed << 4 | box[row << 4 | six >> 1 & 0xF]
    return _picked(mixed, 32, PERMUTATION)


def _picked(value: int, size: int, bits: Sequence[int]) -> int:
    """Some bits of a value of `size` bits, in this order."""
    picked = 0
    for bit in bits:
        picked = picked << 1 | value >> size - bit & 1
    return picked


def answer(password: bytes, challenge: bytes) -> bytes:
    """What who knows the password answers: 7.2.2, with each byte's bits the other way round, as
    every implementation has it.
    """
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:BLOCK].ljust(BLOCK, b"\0"))
    blocks = (challenge[at : at + BLOCK] for at in range(0, len(challenge), BLOCK))
    return b"".join(encrypted(turned, block) for block in blocks)
