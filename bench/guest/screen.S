# A boot sector that shows something new at the left of the first line of 1024 by 768 dots, from time
# to time, and says so on COM1 by a byte just before. It begins at a key, which the BIOS has from
# COM1, too, and writes a line when it has done so CHANGES times.
    .set MODE, 0x144            # of 32 bits a dot
    .set INFORMATION, 0x8000    # of that mode
    .set FRAME_BUFFER, INFORMATION + 0x28
    .set TICKS, 0x46C           # the BIOS's
    .set PERIOD, 4              # of those
    .set CHANGES, 40
#include "start.inc"
    mov %ax, %es
    mov $INFORMATION, %di
    mov $0x4F01, %ax
    mov $MODE, %cx
    int $0x10
    mov $0x4F02, %ax
    mov $MODE | 0x4000, %bx     # with its linear frame buffer
    int $0x10
    mov $begin, %si
    call say
    xor %ax, %ax
    int $0x16
    cli
    lgdtw table                 # DS gets a limit of 4 GiB
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    mov $8, %cx
    mov %cx, %ds
    dec %ax
    mov %eax, %cr0
    xor %cx, %cx
    mov %cx, %ds
    mov FRAME_BUFFER, %edi
    sti
    mov $CHANGES, %bp
    xor %esi, %esi
change:
    mov TICKS, %cl
    add $PERIOD, %cl
rest:
    hlt
    cmp TICKS, %cl
    jne rest
    add $0x030201, %esi         # a colour
    mov $0x3F8, %dx
    mov $0x80, %al
    out %al, %dx
    mov %esi, %ds:(%edi)
    dec %bp
    jnz change
    mov $end, %si
    call say
sleep:
    hlt
    jmp sleep
#include "say.inc"
table:
    .word 15
    .long descriptors
    .balign 4
descriptors:
    .quad 0, 0x00CF92000000FFFF
begin:
    .asciz "\nscreen: begin\n"
end:
    .asciz "\nscreen: end\n"
    .org 510
    .byte 0x55, 0xAA
