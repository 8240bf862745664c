# The end of a boot sector: switches a PC off, where SeaBIOS has its power management.
        mov     $0x605, %dx             # the high byte of PM1 control
        mov     $0x20, %al
        out     %al, %dx
halt:   hlt
        jmp     halt
