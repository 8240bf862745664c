"""A PC's screen where no firmware has set it: the font of a VGA's BIOS, and what Linux is told."""

import struct
from pathlib import Path

import pytest

from tests.machine import images
from tests.machine.images import MIB, bzimage, load, ram
from vestige.abi import FONT_SIZE, GLYPH_SIZE, GLYPHS, SCREEN_MEMORY, Board
from vestige.host.options import VGA_BIOS
from vestige.machine.config import MachineConfig
from vestige.machine.files import open_input
from vestige.machine.screen import FIRST_GLYPHS, HEIGHT, font, load_font

ROM_GLYPHS = FIRST_GLYPHS + bytes(
    (number + line) % 256 for number in range(2, GLYPHS) for line in range(HEIGHT)
)


def test_a_font_lies_as_in_plane_2() -> None:
    found = font(bytes(100) + b"\x55" + ROM_GLYPHS + b"rest")
    assert len(found) == FONT_SIZE
    for number in range(GLYPHS):
        glyph = found[number * GLYPH_SIZE :][:GLYPH_SIZE]
        assert glyph == ROM_GLYPHS[number * HEIGHT :][:HEIGHT] + bytes(GLYPH_SIZE - HEIGHT)


@pytest.mark.parametrize("rom", [b"", bytes(1 << 16), b"\x55" + ROM_GLYPHS[:-1]])
def test_a_rom_may_have_none(rom: bytes) -> None:
    assert font(rom) == b""


@pytest.mark.skipif(not Path(VGA_BIOS).exists(), reason="needs seabios")
def test_debian_s_vga_bios_has_one() -> None:
    memory = bytearray(MIB)
    with open_input(VGA_BIOS, "a ROM") as rom:
        load_font(memoryview(memory), rom)
    glyph = memory[SCREEN_MEMORY + ord("L") * GLYPH_SIZE :][:HEIGHT]
    drawn = [f"{line:08b}".replace("0", ".") for line in glyph]
    assert drawn[2:12] == [
        *("1111....", *(".11.....",) * 6, ".11...1.", ".11..11.", "1111111."),
    ]
    assert not any(memory[: SCREEN_MEMORY + GLYPH_SIZE])


@pytest.mark.parametrize("has_screen", [True, False])
def test_linux_is_told_of_it(tmp_path: Path, has_screen: bool) -> None:
    config = MachineConfig(
        memory=64 * MIB,
        board=Board.PC,
        devices=None if has_screen else ["uart", "ioapic", "pci"],
    )
    memory = ram(config.memory)
    state = load(memory, config, images.write(tmp_path, bzimage()))
    page = bytes(memory[state.rsi : state.rsi + 4096])
    mode, columns, rows, is_vga = page[0x06], page[0x07], page[0x0E], page[0x0F]
    (height,) = struct.unpack_from("<H", page, 0x10)
    expected = (3, 80, 25, 1, 16) if has_screen else (0, 0, 0, 0, 0)
    assert (mode, columns, rows, is_vga, height) == expected
    assert not any(page[0x12:0x40])
