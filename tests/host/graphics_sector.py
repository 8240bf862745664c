"""A boot sector that sets one graphics mode after the other by the BIOS, and fills its memory.

It says on the serial port when a mode is filled, and goes on at the next key. What it fills it with
is the same wherever it runs: random numbers, each line's from another one on.
"""

import struct
from collections.abc import Sequence

DRAWN = 0x80  # what it says
OLD_MODE = 0x13  # IBM's, at 0xA0000; all others are VBE's
NUMBERS = bytes.fromhex(
    "6631c0"  # xor eax,eax
    "8ed8"  # mov ds,ax
    "8ed0"  # mov ss,ax
    "bc007c"  # mov sp,0x7c00
    "bb0010"  # mov bx,0x1000
    "8ec3"  # mov es,bx
    "31ff"  # xor di,di
    "b90010"  # mov cx,0x1000
    "6669c00d661900"  # fill: imul eax,eax,0x19660d
    "66055ff36e3c"  # add eax,0x3c6ef35f
    "66ab"  # stos es:[di],eax
    "e2ef"  # loop fill
)  # random ones from 0x10000 on, with which modes are filled
CODE = (
    NUMBERS
    + bytes.fromhex(
        "bedb7c"  # again: mov si,0x7cdb, of the modes
        "ad"  # next: lods ax,ds:[si]
        "85c0"  # test ax,ax
        "74f8"  # je again
        "56"  # push si
        "1e"  # push ds
        "07"  # pop es
        "66bf00000a00"  # mov edi,0xa0000
        "66bb40010000"  # mov ebx,0x140
        "66bac8000000"  # mov edx,0xc8
        "83f813"  # cmp ax,0x13
        "7413"  # je set
        "89c1"  # mov cx,ax
        "bf0080"  # mov di,0x8000
        "b8014f"  # mov ax,0x4f01, information of a mode
        "51"  # push cx
        "cd10"  # int 0x10
        "5b"  # pop bx
        "81cb0040"  # or bx,0x4000
        "b8024f"  # mov ax,0x4f02, set it, with its linear frame buffer
        "6660"  # set: pushad
        "cd10"  # int 0x10
        "6661"  # popad
        "83f813"  # cmp ax,0x13
        "7411"  # je draw
        "668b3e2880"  # mov edi,ds:0x8028, where that is
        "660fb71e1080"  # movzx ebx,ds:0x8010, bytes of a line
        "660fb7161480"  # movzx edx,ds:0x8014, lines
        "fa"  # draw: cli
        "0f0116c57c"  # lgdtw ds:0x7cc5
        "0f20c0"  # mov eax,cr0
        "0c01"  # or al,0x1
        "0f22c0"  # mov cr0,eax
        "b90800"  # mov cx,0x8
        "8ed9"  # mov ds,cx
        "8ec1"  # mov es,cx
        "48"  # dec ax
        "0f22c0"  # mov cr0,eax
        "31c9"  # xor cx,cx
        "8ed9"  # mov ds,cx
        "8ec1"  # mov es,cx
        "66be00000100"  # mov esi,0x10000
        "6656"  # line: push esi
        "6689d9"  # mov ecx,ebx
        "66c1e902"  # shr ecx,0x2
        "6766f3a5"  # rep movs es:[edi],ds:[esi]
        "665e"  # pop esi
        "6683c604"  # add esi,0x4
        "81e6fc1f"  # and si,0x1ffc
        "664a"  # dec edx
        "75e5"  # jne line
        "fb"  # sti
        "5e"  # pop si
        "baf803"  # mov dx,0x3f8, the serial port
        "b080"  # mov al,0x80
        "ee"  # out dx,al
        "b400"  # mov ah,0x0, wait for a key
        "cd16"  # int 0x16
        "e963ff"  # jmp next
    )
    + struct.pack("<HIQQ", 15, 0x7CCB, 0, 0x00CF_9200_0000_FFFF)  # the GDT: data, 4 GiB of it
)
MODES_AT = 0xDB  # where the code has them


# In place of the end of it: fill the memory of the first mode for ever, each time otherwise.
FOR_EVER = bytes.fromhex(
    "668b3e2880"  # mov edi,ds:0x8028
    "660fb7161480"  # movzx edx,ds:0x8014
    "ebd8"  # jmp line
)
FILLED_AT = 0xB6  # the code behind a mode's last line
# In place of a look which mode it is: the timer, which interrupts the machine by itself, ends.
NO_TIMER = bytes.fromhex(
    "b030"  # mov al,0x30: channel 0 waits for a count
    "e643"  # out 0x43,al
    "90"  # nop
)
SET_AT = 0x60  # the code behind the call that sets a mode


def disk(modes: Sequence[int], *, for_ever: bool = False) -> bytes:
    """A disk whose first sector goes through these modes, again and again; or fills the first."""
    assert len(CODE) == MODES_AT
    code = CODE
    if for_ever:
        for place, other in ((FILLED_AT, FOR_EVER), (SET_AT, NO_TIMER)):
            code = code[:place] + other + code[place + len(other) :]
    sector = code + struct.pack(f"<{len(modes)}HH", *modes, 0)
    return (sector.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
