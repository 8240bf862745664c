# Compiled code in ring 0 of a virtual CPU.
.text
.globl interrupt_wake

interrupt_wake:                 # end-of-interrupt, and an end to HLT
    pushq %rax
    end_interrupt
    popq %rax
    iretq
