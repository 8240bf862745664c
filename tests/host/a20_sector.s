# The first sector of a disk: closes and opens the gate of bit 20, and says what is behind 1 MiB.
#
# By the BIOS, by the keyboard controller and by port 0x92. Writes what it finds to the serial port,
# a letter or figure each, then powers the machine off. A BIOS enters it at 0x7C00.

        .code16
        .set    LOW, 0x500              # offsets: of a byte in segment 0, and of the one 1 MiB on
        .set    HIGH, 0x510             # in segment 0xFFFF
        .set    TICKS, 0x46C
        .set    CLOSE, 0x2400           # functions of INT 15h
        .set    OPEN, 0x2401
        .set    ASK, 0x2402
        .set    COMMAND, 0x64           # of the keyboard controller
        .set    CONTROL, 0x92
        .set    SERIAL, 0x3F8

        xor     %ax, %ax
        mov     %ax, %ds
        dec     %ax
        mov     %ax, %es
        mov     $SERIAL, %dx
        mov     TICKS, %al              # then SeaBIOS has said all on that port
tick:   cmp     TICKS, %al
        je      tick
        mov     $OPEN, %ax
        int     $0x15
        movb    $'a', LOW
        movb    $'b', %es:HIGH
        call    put
        mov     $CLOSE, %ax
        int     $0x15
        call    put
        movb    $'c', %es:HIGH
        call    put
        mov     $OPEN, %ax
        int     $0x15
        call    put
        mov     $0xDD, %al
        out     %al, $COMMAND
        call    put
        mov     $0xDF, %al
        out     %al, $COMMAND
        call    put
        xor     %al, %al
        out     %al, $CONTROL
        call    put
        mov     $2, %al
        out     %al, $CONTROL
        call    put
        .include "power_off.s"

put:    mov     LOW, %al
        out     %al, %dx
        mov     %es:HIGH, %al
        out     %al, %dx
        mov     $ASK, %ax
        int     $0x15
        add     $'0', %al
        out     %al, %dx
        ret

        .org    510
        .word   0xAA55
