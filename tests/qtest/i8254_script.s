# Firmware that carries out a script of port accesses, each at its time.
#
# Debian's QEMU can't step its clock for qtest. With -icount its virtual clock goes on with the
# instructions of its CPU, and RDTSC shows it, in nanoseconds. An entry of the script has 16 bytes:
# when, in nanoseconds from the script's start; the port (16 bits); what (8 bits: 0 read, 1 write,
# 2 end); the value; and the time at which it was, which is written here, as the value of a read is.

        .code16
        .set    START, 0x500            # a byte in RAM: not 0 starts the script
        .set    SCRIPT, 0x1000          # the segment of its first entry
        .set    DONE, 0xE9              # the port of the debug console

first:  xor     %ax, %ax
        mov     %ax, %ds
wait:   cmpb    $0, START
        je      wait
        movb    $0, START
        mov     $SCRIPT, %ax
        mov     %ax, %ds
        rdtsc
        mov     %eax, %ebx
entry:  cmpb    $2, 6
        je      end
until:  rdtsc
        sub     %ebx, %eax
        mov     0, %ecx
        sub     %eax, %ecx
        jbe     now
        shr     $5, %ecx                # two instructions of 8 ns take half of what is left
        jz      until
delay:  dec     %ecx
        jnz     delay
        jmp     until
now:    mov     %eax, 8
        mov     4, %dx                  # RDTSC has written it
        mov     7, %al
        cmpb    $0, 6
        je      read
        out     %al, %dx
        jmp     next
read:   in      %dx, %al
        mov     %al, 7
next:   mov     %ds, %ax
        inc     %ax
        mov     %ax, %ds
        jmp     entry
end:    out     %al, $DONE
        jmp     first

        .org    0xFFF0                  # the reset vector
        .byte   0xEA                    # jmp 0xF000:first
        .word   first, 0xF000
        .org    0x10000
