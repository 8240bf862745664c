# What LLVM and compiled code call: memory routines. No SSE, any address, DF clear on return. At the
# end what other assembly begins and ends its functions with.
#
# Eight bytes a step, then the rest: processors with fast strings don't care, but emulated ones (the
# software host's, and KVMs that emulate ring 0) take as long for a byte as for eight.
.text
.hidden memset, memcpy, memmove, vestige_copy, vestige_fill
.globl memset, memcpy, memmove, vestige_copy, vestige_fill

vestige_fill:                   # (address, value, length)
memset:                         # returns address
    movq %rdi, %r8
    movzbl %sil, %eax
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rax            # the byte, eight times
    movq %rdx, %rcx
    shrq $3, %rcx
    rep stosq
    movl %edx, %ecx
    andl $7, %ecx
    rep stosb
    movq %r8, %rax
    retq

vestige_copy:                   # (destination, source, length), may overlap
memmove:
    movq %rdi, %rax
    subq %rsi, %rax
    cmpq %rdx, %rax
    jb 1f                       # destination inside [source, source + length)
memcpy:                         # returns destination
    movq %rdi, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep movsq
    movl %edx, %ecx
    andl $7, %ecx
    rep movsb
    retq
1:  movq %rdi, %rax             # backwards
    movq %rdx, %rcx
    leaq -1(%rdi,%rdx), %rdi
    leaq -1(%rsi,%rdx), %rsi
    std
    rep movsb
    cld
    retq

.macro keep                     # the registers that a function leaves as they are
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
.endm

.macro restore
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
.endm
