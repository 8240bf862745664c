# What a virtual CPU's code has in either ring. RSP & -STACK_SIZE is its own struct, which begins as
# Vcpu of lang/vcpu.py does. PANIC is a call to the host that is never answered.
.text
.hidden vestige_panic
.globl vestige_panic

vestige_panic:                  # (site)
    movq %rsp, %rbx
    andq $-STACK_SIZE, %rbx
    movq %rdi, PANIC_SITE(%rbx)
    movq (%rsp), %rax
    movq %rax, PANIC_RIP(%rbx)
tell_panic:                     # RBX: the struct
    movl $PORT_CALL, %edx
    movl $CALL_PANIC, %eax
    outb %al, %dx
    jmp tell_panic

.macro end_interrupt            # RAX is lost
    pushq %rcx
    pushq %rdx
    movl $0x80B, %ecx           # x2APIC EOI register
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    popq %rdx
    popq %rcx
.endm
