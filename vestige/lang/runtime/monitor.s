# Compiled code on a virtual CPU. RSP & -STACK_SIZE is its own struct, which begins as Vcpu of
# lang/vcpu.py does. PANIC is a call to the host that is never answered.
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

exception:                      # stack: vector, error code, RIP
    movq %rsp, %rbx
    andq $-STACK_SIZE, %rbx
    popq PANIC_VECTOR(%rbx)
    popq PANIC_ERROR(%rbx)
    popq PANIC_RIP(%rbx)
    movq %cr2, %rax
    movq %rax, PANIC_ADDRESS(%rbx)
    movq $0, PANIC_SITE(%rbx)
    jmp 1b

.macro stub vector, has_error
.globl exception_\vector
exception_\vector:
    .if \has_error == 0
    pushq $0
    .endif
    pushq $\vector
    jmp exception
.endm

.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31
stub \vector, 0
.endr
.irp vector, 8, 10, 11, 12, 13, 14, 17, 21, 29, 30
stub \vector, 1
.endr

.macro signal number
.globl interrupt_signal_\number
interrupt_signal_\number:
    pushq $\number
    jmp note
.endm

.irp number, 0, 1, 2, 3, 4, 5
signal \number
.endr

note:                           # stack: index into Vcpu.signals, which is set; then as below
    pushq %rax
    pushq %rbx
    movq %rsp, %rbx
    andq $-STACK_SIZE, %rbx
    movq 16(%rsp), %rax
    movb $1, CPU_SIGNALS(%rbx,%rax)
    popq %rbx
    popq %rax
    addq $8, %rsp

interrupt_wake:                 # end-of-interrupt, and an end to HLT: the worker looks
    pushq %rax
    movq 8(%rsp), %rax          # RIP: interrupts are let in by "sti; hlt; cli" and nowhere else
    cmpb $0xF4, (%rax)          # HLT yet to come would sleep through this interrupt: STI holds it
    jne 1f                      # off until then, but QEMU 7.2's TCG forgets that where it leaves a
    incq 8(%rsp)                # nested guest in between
1:  movq %rsp, %rax
    andq $-STACK_SIZE, %rax
    btrl $0, CPU_ENDED(%rax)    # where KVM has done it, that spares an exit
    jc 1f
    pushq %rcx
    pushq %rdx
    movl $0x80B, %ecx           # x2APIC EOI register
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    popq %rdx
    popq %rcx
1:  popq %rax
    iretq
