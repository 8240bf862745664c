# Compiled code in a process: it runs on a stack of its own, aligned to STACK_SIZE, at whose
# bottom the caller's stack pointer is kept. A failed check goes back there at once.
.text
.hidden vestige_panic
.globl vestige_call, vestige_panic

vestige_call:                   # (frame): function, 6 arguments, result, top of stack
    keep
    movq %rdi, %rbx
    movq 64(%rbx), %rax
    movq %rsp, -STACK_SIZE(%rax)
    movq %rax, %rsp
    movq 8(%rbx), %rdi
    movq 16(%rbx), %rsi
    movq 24(%rbx), %rdx
    movq 32(%rbx), %rcx
    movq 40(%rbx), %r8
    movq 48(%rbx), %r9
    callq *(%rbx)
    movq %rax, 56(%rbx)
    movq 64(%rbx), %rax
    movq -STACK_SIZE(%rax), %rsp
    xorl %eax, %eax             # no check failed
1:  restore
    retq

vestige_panic:                  # (site); returns it from vestige_call
    movq %rsp, %rdx
    andq $-STACK_SIZE, %rdx
    movq (%rdx), %rsp
    movq %rdi, %rax
    jmp 1b
