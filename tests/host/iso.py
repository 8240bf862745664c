"""The least of a disc that a BIOS boots: El Torito Specification 1.0, no emulation; ECMA-119."""

BLOCK = 2048
BOOT_RECORD, CATALOG, BOOT_IMAGE, MARK = 17, 19, 20, 21  # blocks
BLOCKS = 400


def disc(code: bytes, mark: bytes) -> bytes:
    """A disc with this boot image, up to one block, and `mark` in block MARK."""
    blocks = [bytes(BLOCK)] * BLOCKS
    blocks[16] = b"\1CD001\1"
    blocks[BOOT_RECORD] = b"\0CD001\1" + b"EL TORITO SPECIFICATION".ljust(64, b"\0")
    blocks[BOOT_RECORD] += CATALOG.to_bytes(4, "little")
    blocks[18] = b"\xffCD001\1"
    validation = bytearray(32)
    validation[0], validation[30:32] = 1, b"\x55\xaa"
    words = (int.from_bytes(validation[i : i + 2], "little") for i in range(0, 32, 2))
    validation[28:30] = (-sum(words) & 0xFFFF).to_bytes(2, "little")
    entry = bytes((0x88, 0, 0, 0, 0, 0)) + (4).to_bytes(2, "little")
    blocks[CATALOG] = bytes(validation) + entry + BOOT_IMAGE.to_bytes(4, "little")
    blocks[BOOT_IMAGE], blocks[MARK] = code, mark
    return b"".join(block.ljust(BLOCK, b"\0") for block in blocks)
