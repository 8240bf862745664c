"""A boot sector that fills planes and banks at 0xA0000, in one mode after the other, then text.

As graphics_sector.py it says on the serial port when a mode is filled, and goes on at the next key;
the numbers are the same wherever it runs. Behind the last mode it sets text mode 3, and fills that
with A and @ by turns, for ever, and takes no interrupts.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from tests.host.graphics_sector import NUMBERS


class Filling(NamedTuple):
    """A mode, how many planes or banks are filled, and how many words of each.

    Of IBM's modes that are planes; mode 0x13 is taken out of its chain before.
    """

    mode: int
    parts: int
    words: int


CODE = NUMBERS + bytes.fromhex(
    "bed67c"  # mov si,0x7cd6, of the modes
    "ad"  # next: lods ax,ds:[si]
    "85c0"  # test ax,ax
    "0f848400"  # je text
    "89c3"  # mov bx,ax
    "ad"  # lods ax,ds:[si]
    "89c5"  # mov bp,ax
    "ad"  # lods ax,ds:[si]
    "56"  # push si
    "50"  # push ax
    "89d8"  # mov ax,bx
    "81fb0001"  # cmp bx,0x100
    "7203"  # jb old
    "b8024f"  # mov ax,0x4f02, a VBE mode, with banks
    "cd10"  # old: int 0x10
    "83fb13"  # cmp bx,0x13, 256 colours: out of their chain
    "7511"  # jne draw
    "bac403"  # mov dx,0x3c4
    "b80406"  # mov ax,0x604
    "ef"  # out dx,ax
    "b2d4"  # mov dl,0xd4
    "b817e3"  # mov ax,0xe317
    "ef"  # out dx,ax
    "b81400"  # mov ax,0x14
    "ef"  # out dx,ax
    "b800a0"  # draw: mov ax,0xa000
    "8ec0"  # mov es,ax
    "31c9"  # xor cx,cx
    "81fb0001"  # part: cmp bx,0x100, VBE's have banks
    "770b"  # ja bank
    "bac403"  # mov dx,0x3c4
    "b80201"  # mov ax,0x102, the next plane
    "d2e4"  # shl ah,cl
    "ef"  # out dx,ax
    "eb0b"  # jmp copy
    "60"  # bank: pusha
    "89ca"  # mov dx,cx
    "31db"  # xor bx,bx
    "b8054f"  # mov ax,0x4f05, the next bank
    "cd10"  # int 0x10
    "61"  # popa
    "5a"  # copy: pop dx
    "52"  # push dx
    "51"  # push cx
    "69f12401"  # imul si,cx,0x124
    "b80010"  # mov ax,0x1000
    "8ed8"  # mov ds,ax
    "31ff"  # xor di,di
    "89d1"  # chunk: mov cx,dx
    "39c1"  # cmp cx,ax
    "7602"  # jbe last
    "89c1"  # mov cx,ax
    "29ca"  # last: sub dx,cx
    "81e6fe1f"  # and si,0x1ffe
    "f3a5"  # rep movs es:[di],ds:[si]
    "85d2"  # test dx,dx
    "75ec"  # jne chunk
    "8ed9"  # mov ds,cx
    "59"  # pop cx
    "41"  # inc cx
    "39e9"  # cmp cx,bp
    "72ba"  # jb part
    "58"  # pop ax
    "5e"  # pop si
    "e82300"  # call say
    "b400"  # mov ah,0x0, wait for a key
    "cd16"  # int 0x16
    "e975ff"  # jmp next
    "b80300"  # text: mov ax,0x3
    "cd10"  # int 0x10
    "e81400"  # call say
    "fa"  # cli
    "b800b8"  # mov ax,0xb800
    "8ec0"  # mov es,ax
    "b8411f"  # mov ax,0x1f41
    "31ff"  # again: xor di,di
    "b9d007"  # mov cx,0x7d0
    "f3ab"  # rep stos es:[di],ax
    "3401"  # xor al,0x1
    "ebf5"  # jmp again
    "baf803"  # say: mov dx,0x3f8, the serial port
    "b080"  # mov al,0x80
    "ee"  # out dx,al
    "c3"  # ret
)
MODES_AT = 0xD6  # where the code has them


def disk(fillings: Sequence[Filling]) -> bytes:
    """A disk whose first sector goes through these."""
    assert len(CODE) == MODES_AT
    table = b"".join(struct.pack("<HHH", *each) for each in fillings)
    sector = CODE + table + bytes(2)
    return (sector.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
