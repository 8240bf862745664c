# Formats the second floppy disk of a Linux for 32 bits by its driver, as fdformat(8) does.
#
# Takes the disk's layout as the driver has found it: 80 tracks of two heads. Exits with 0, or with 1
# where the driver refuses anything. Source: linux/fd.h.

        .set    EXIT, 1                 # system calls
        .set    OPEN, 5
        .set    IOCTL, 54
        .set    READ_WRITE, 2           # open's flags
        .set    BEGIN, 0x0247           # FDFMTBEG
        .set    FORMAT, 0x400C0248      # FDFMTTRK
        .set    END, 0x0249             # FDFMTEND
        .set    TRACKS, 80

        .globl  _start
        .text
_start: mov     $OPEN, %eax
        mov     $path, %ebx
        mov     $READ_WRITE, %ecx
        xor     %edx, %edx
        int     $0x80
        test    %eax, %eax
        js      failed
        mov     %eax, %ebx              # the file, for all that follows
        mov     $BEGIN, %ecx
        call    control
next:   mov     $FORMAT, %ecx
        mov     $wanted, %edx
        call    control
        xorl    $1, head
        jnz     next
        incl    track
        cmpl    $TRACKS, track
        jne     next
        mov     $END, %ecx
        call    control
        xor     %ebx, %ebx
        jmp     leave
failed: mov     $1, %ebx
leave:  mov     $EXIT, %eax
        int     $0x80

control:
        mov     $IOCTL, %eax
        int     $0x80
        test    %eax, %eax
        js      failed
        ret

        .data
path:   .asciz  "/dev/fd1"
        .balign 4
wanted: .long   0                       # struct format_descr: device, head, track
head:   .long   0
track:  .long   0
