# A boot sector that says so on COM1, after a BIOS has started it, and sleeps for ever.
    .code16
    .globl _start
_start:
    cli
    ljmp $0, $here
here:
    xor %ax, %ax
    mov %ax, %ds
    mov $text, %si
next:
    lodsb
    test %al, %al
    jz end
    mov %al, %bl
full:
    mov $0x3FD, %dx         # line status
    in %dx, %al
    test $0x20, %al         # the transmitter is empty
    jz full
    mov %bl, %al
    mov $0x3F8, %dx
    out %al, %dx
    jmp next
end:
    hlt
    jmp end
text:
    .asciz "\nsector: here\n"
    .org 510
    .byte 0x55, 0xAA
