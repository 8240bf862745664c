# Compiled code in ring 0 of a virtual CPU. PANIC is a call to the host that is never answered, as
# the monitor's is, and says where in RBX: RSP & -STACK_SIZE is its own struct, as the monitor's is.
.text
.hidden vestige_panic
.globl vestige_panic, interrupt_wake

vestige_panic:                  # (site)
    movq %rsp, %rbx
    andq $-STACK_SIZE, %rbx
    movq %rdi, PANIC_SITE(%rbx)
    movq (%rsp), %rax
    movq %rax, PANIC_RIP(%rbx)
1:  movl $PORT_CALL, %edx
    movl $CALL_PANIC, %eax
    outb %al, %dx
    jmp 1b

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
