# What LLVM and compiled code call: memory routines. No SSE, any address, DF clear on return.
.text
.hidden memset, memcpy, memmove, vestige_copy, vestige_fill
.globl memset, memcpy, memmove, vestige_copy, vestige_fill

vestige_fill:                   # (address, value, length)
memset:                         # returns address
    movq %rdi, %r8
    movl %esi, %eax
    movq %rdx, %rcx
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
