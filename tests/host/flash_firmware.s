# The end of a firmware image, 512 bytes below 4 GiB: writes the flash memory at FLASH, which is
# given, tells by the serial port what it reads, a byte each, and powers off.

        .set    BASE, 0xFFFFFE00
        .set    SERIAL, 0x3F8
        .set    PM1_CONTROL, 0xB005     # the high byte, with a UEFI firmware
        .set    SLEEP, 0x20

        .code16
start:
        cli
        lgdtl   %cs:(BASE & 0xFFFF) + descriptors - start
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmpl   $8, $BASE + protected - start

        .code32
protected:
        mov     $16, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x8000, %esp
        mov     $FLASH, %ebx
        mov     $SERIAL, %edx

        movb    0x28(%ebx), %al         # the array
        outb    %al, %dx
        movb    $0x50, 0x28(%ebx)       # as OVMF looks for flash memory
        movb    0x28(%ebx), %al
        outb    %al, %dx
        movb    $0x70, 0x28(%ebx)
        movb    0x28(%ebx), %al
        outb    %al, %dx
        movb    $0xFF, 0x28(%ebx)
        movb    0x28(%ebx), %al
        outb    %al, %dx
        movb    $0x10, 0x100(%ebx)      # program a byte
        movb    $0x5A, 0x100(%ebx)
        movb    (%ebx), %al
        outb    %al, %dx
        movb    $0xFF, (%ebx)
        movb    0x100(%ebx), %al
        outb    %al, %dx
        movb    $0x20, 0x1000(%ebx)     # erase a block
        movb    $0xD0, 0x1000(%ebx)
        movb    $0xFF, 0x1000(%ebx)
        movb    0x1800(%ebx), %al
        outb    %al, %dx
        movb    $0x90, (%ebx)           # who made it
        movb    (%ebx), %al
        outb    %al, %dx
        movb    $0xFF, (%ebx)
        mov     0x28(%ebx), %eax        # four bytes of the array
        mov     $4, %ecx
next:
        outb    %al, %dx
        shr     $8, %eax
        loop    next

        mov     $PM1_CONTROL, %edx
        mov     $SLEEP, %al
        outb    %al, %dx
        hlt

        .balign 8
table:
        .quad   0
        .quad   0x00CF9B000000FFFF      # code
        .quad   0x00CF93000000FFFF      # data
descriptors:
        .word   . - table - 1
        .long   BASE + table - start

        .org    0x1F0
        .code16
        jmp     start
        .org    0x200
