# Compiled code in ring 0 of a virtual CPU.
.text
.globl interrupt_wake

interrupt_wake:                 # end-of-interrupt, and an end to HLT
    pushq %rax
    pushq %rcx
    pushq %rdx
    movl $0x80B, %ecx           # x2APIC EOI register
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    popq %rdx
    popq %rcx
    popq %rax
    iretq
