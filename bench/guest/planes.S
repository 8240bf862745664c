# A boot sector that draws the whole screen of a VGA's mode 12h anew, between two lines on COM1.
#
# `count` and `moves` are for who makes the disk: how often, and whether each time a byte after the
# other is read and written a row of characters higher, by the latches; or each plane is filled.
#include "start.inc"
    mov $0x0012, %ax
    int $0x10
    cli
    cld
    mov $0xA000, %ax
    mov %ax, %es
    mov $begin, %si
    call say
    mov count, %bp
screen:
    test %bp, %bp
    jz done
    dec %bp
    testb $1, moves
    jnz move
    mov $0x0102, %bx        # the map mask: a plane after the other
plane:
    mov $0x3C4, %dx
    mov %bx, %ax
    out %ax, %dx
    xor %di, %di
    mov $19200, %cx         # words: 640 by 480 dots
    rep stosw
    shl $1, %bh
    test $0x10, %bh
    jz plane
    jmp screen
move:
    mov $0x3CE, %dx
    mov $0x0105, %ax        # write mode 1
    out %ax, %dx
    push %ds
    mov $0xA050, %ax        # 16 lines of 80 bytes on
    mov %ax, %ds
    xor %si, %si
    xor %di, %di
    mov $37120, %cx
    rep movsb
    pop %ds
    jmp screen
done:
    mov $end, %si
    call say
sleep:
    hlt
    jmp sleep
#include "say.inc"
begin:
    .asciz "\nplanes: begin\n"
end:
    .asciz "planes: end\n"
    .org 504
moves:
    .word 0
count:
    .word 0
    .org 510
    .byte 0x55, 0xAA
