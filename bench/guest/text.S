# A boot sector that writes characters to a PC's text screen, between two lines on COM1.
#
# `count` and `by_bios` are for who makes the disk: how many characters, and whether the BIOS
# writes each (INT 10h, AH = 0Eh) or they are stored in the screen's memory, with their attributes.
#include "start.inc"
    mov $0xB800, %ax
    mov %ax, %es
    mov $begin, %si
    call say
    mov count, %cx
    jcxz done
    xor %di, %di
    cld
character:
    testb $1, by_bios
    jnz bios
    mov %cl, %al
    mov $7, %ah
    stosw
    and $0xFFF, %di
    loop character
    jmp done
bios:
    push %cx
    mov $0x0E, %ah
    mov $'x', %al
    mov $7, %bx
    int $0x10
    pop %cx
    loop character
done:
    cli
    mov $end, %si
    call say
sleep:
    hlt
    jmp sleep
#include "say.inc"
begin:
    .asciz "\ntext: begin\n"
end:
    .asciz "text: end\n"
    .org 504
by_bios:
    .word 0
count:
    .word 0
    .org 510
    .byte 0x55, 0xAA
