# The first sector of a floppy disk: by the BIOS it copies a track to another, and formats a third.
#
# Writes to the serial port which of the three it does, and "done"; or the BIOS's status as a letter
# from A on. Then it powers the machine off. A BIOS enters it at 0x7C00, with its drive in DL.

        .code16
        .set    BUFFER, 0x2000          # a segment
        .set    READ, 2                 # functions of INT 13h
        .set    WRITE, 3
        .set    FORMAT, 5
        .set    SECTORS, 18
        .set    SERIAL, 0x3F8

        mov     $0x7C0, %ax
        mov     %ax, %ds
        mov     $BUFFER, %ax
        mov     %ax, %es
        xor     %bx, %bx
        mov     $'r', %al
        call    put
        mov     $READ << 8 | SECTORS, %ax
        mov     $3 << 8 | 1, %cx        # cylinder 3, from sector 1 on
        mov     $1, %dh                 # head 1
        int     $0x13
        jc      failed
        mov     $'w', %al
        call    put
        mov     $WRITE << 8 | SECTORS, %ax
        mov     $40 << 8 | 1, %cx
        mov     $0, %dh
        int     $0x13
        jc      failed
        mov     $'f', %al
        call    put
        push    %ds
        pop     %es
        mov     $ids, %bx
        mov     $FORMAT << 8 | SECTORS, %ax
        mov     $79 << 8 | 1, %cx
        mov     $1, %dh
        int     $0x13
        jc      failed
        mov     $'d', %al
        call    put
        mov     $'o', %al
        call    put
        mov     $'n', %al
        call    put
        mov     $'e', %al
        call    put
        jmp     off
failed: mov     %ah, %al
        add     $'A', %al
        call    put
off:    mov     $'\n', %al
        call    put
        .include "power_off.s"

put:    push    %dx
        mov     %al, %ah
        mov     $SERIAL + 5, %dx
wait:   in      %dx, %al
        test    $0x20, %al
        jz      wait
        mov     $SERIAL, %dx
        mov     %ah, %al
        out     %al, %dx
        pop     %dx
        ret

ids:    .set    sector, 1
        .rept   SECTORS
        .byte   79, 1, sector, 2
        .set    sector, sector + 1
        .endr
        .org    510
        .word   0xAA55
