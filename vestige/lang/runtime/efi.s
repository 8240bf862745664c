# An application of UEFI firmware, which enters and leaves it as one of its own functions does (UEFI
# 2.10, 2.3.4.2: Microsoft's calling convention). Compiled code runs on a stack of its own, aligned
# to STACK_SIZE; above that is zeroed memory for its state. `efi_main` is entered with the image's
# handle, the system table, the state and the constants, and answers with an EFI_STATUS. After a
# failed check `efi_failed` has the number of the check in the place of the handle. `efi_serve` is
# entered where the firmware has become a guest, `efi_join` by each processor that it starts then.
.text
.hidden vestige_panic, vestige_run_guest, vestige_run_aside, vestige_read_state, vestige_take_over
.hidden vestige_nmi_entry, vestige_startup_page
.globl efi_start, efi_constants, vestige_panic
.globl vestige_run_guest, vestige_run_aside, vestige_read_state, vestige_take_over
.globl vestige_nmi_entry, vestige_startup_page

efi_start:                      # (RCX: handle, RDX: system table)
    keep
    pushq %rdi
    pushq %rsi
    leaq efi_room(%rip), %rbx
    addq $2*STACK_SIZE-1, %rbx
    andq $-STACK_SIZE, %rbx     # the end of the stack: the state begins
    movq %rsp, -STACK_SIZE(%rbx)
    movq %rdx, 8-STACK_SIZE(%rbx)
    movq %rbx, %rsp
    movq %rcx, %rdi
    movq %rdx, %rsi
    movq %rbx, %rdx
    leaq efi_constants(%rip), %rcx
    addq (%rcx), %rcx
    call efi_main
1:  movq -STACK_SIZE(%rbx), %rsp
    popq %rsi
    popq %rdi
    restore
    retq

vestige_panic:                  # (check)
    movq %rsp, %rbx
    andq $-STACK_SIZE, %rbx
    addq $STACK_SIZE, %rbx
    movq %rbx, %rsp             # what failed is not gone on with
    movq 8-STACK_SIZE(%rbx), %rsi
    movq %rbx, %rdx
    leaq efi_constants(%rip), %rcx
    addq (%rcx), %rcx
    call efi_failed
    jmp 1b

# ---- a virtual machine of AMD's ------------------------------------------------------------------

vestige_run_guest:              # (VMCB, its registers but RAX and RSP): one VMRUN. APM 2, 15.5
    keep
    pushq %rsi
    movq %rdi, %rax
    movq 8(%rsi), %rcx
    movq 16(%rsi), %rdx
    movq 24(%rsi), %rbx
    movq 40(%rsi), %rbp
    movq 56(%rsi), %rdi
    movq 64(%rsi), %r8
    movq 72(%rsi), %r9
    movq 80(%rsi), %r10
    movq 88(%rsi), %r11
    movq 96(%rsi), %r12
    movq 104(%rsi), %r13
    movq 112(%rsi), %r14
    movq 120(%rsi), %r15
    movq 48(%rsi), %rsi
    vmrun %rax
    pushq %rsi
    movq 8(%rsp), %rsi
    movq %rcx, 8(%rsi)
    movq %rdx, 16(%rsi)
    movq %rbx, 24(%rsi)
    movq %rbp, 40(%rsi)
    movq %rdi, 56(%rsi)
    movq %r8, 64(%rsi)
    movq %r9, 72(%rsi)
    movq %r10, 80(%rsi)
    movq %r11, 88(%rsi)
    movq %r12, 96(%rsi)
    movq %r13, 104(%rsi)
    movq %r14, 112(%rsi)
    movq %r15, 120(%rsi)
    popq %rax
    movq %rax, 48(%rsi)
    popq %rsi
    cld
    restore
    retq

vestige_run_aside:              # (VMCB, its registers, another's VMCB): what VMRUN leaves in the
    pushq %rdx                  # processor is the other's before and after it. APM 2, 15.5.2
    movq %rdx, %rax
    vmsave %rax
    movq %rdi, %rax
    vmload %rax
    call vestige_run_guest
    popq %rax
    vmload %rax
    retq

vestige_nmi_entry:              # where an NMI is taken, when interrupts are let in
    leaq 1f(%rip), %rax
    retq
1:  iretq

vestige_read_state:             # (where): as the struct of that name has it
    sgdt 6(%rdi)
    sidt 22(%rdi)
    movw %es, 32(%rdi)
    movw %cs, 34(%rdi)
    movw %ss, 36(%rdi)
    movw %ds, 38(%rdi)
    movq %cr0, %rax
    movq %rax, 40(%rdi)
    movq %cr2, %rax
    movq %rax, 48(%rdi)
    movq %cr3, %rax
    movq %rax, 56(%rdi)
    movq %cr4, %rax
    movq %rax, 64(%rdi)
    movq %dr6, %rax
    movq %rax, 72(%rdi)
    movq %dr7, %rax
    movq %rax, 80(%rdi)
    retq

vestige_take_over:              # (new world): returns as the guest; see the struct
    keep
    movq 0(%rdi), %rbx          # the VMCB
    leaq 1f(%rip), %rax
    movq %rax, 0x578(%rbx)
    movq %rsp, 0x5D8(%rbx)
    pushfq
    popq 0x570(%rbx)            # as the guest goes on
    cli
    clgi
    movq 8(%rdi), %rax
    movq %rax, %cr3
    lgdt 38(%rdi)
    lidt 54(%rdi)
    movq 16(%rdi), %rsp
    movl $16, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    movq 64(%rdi), %rax
    pushq $8
    leaq 2f(%rip), %rcx
    addq %rax, %rcx             # there is a copy of this code, so far from here
    pushq %rcx
    lretq
2:  movq 24(%rdi), %rdi         # the state
    call efi_serve              # which never returns
1:  restore
    retq

# ---- another processor ---------------------------------------------------------------------------

vestige_startup_page:           # what is copied to a page below 1 MiB, where a STARTUP IPI leads to
    leaq startup(%rip), %rax
    retq

    .balign 16
    .code16
startup:                        # CS: the page, IP: 0. APM 2, 14.1 and 14.6
    cli
    movw %cs, %ax
    movw %ax, %ds
    movl %cr0, %ebp             # the guest's
    movl startup_root - startup, %eax
    movl %eax, %cr3
    movl $0x20, %eax            # PAE
    movl %eax, %cr4
    movl $0xC0000080, %ecx      # EFER
    xorl %edx, %edx
    movl $0x1900, %eax          # SVME, NXE, LME
    wrmsr
    lgdtl startup_gdtr - startup
    movl $0x80010033, %eax      # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl *(startup_far - startup)
    .code64
1:  movl $16, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    movq startup_arrival(%rip), %rsi
    movq 0(%rsi), %rax
    movq %rax, %cr3             # which may be above 4 GiB
    jmpq *startup_entry(%rip)
    .org startup + 0xC0         # from here on: the struct Startup, in which the shell fills in
startup_root:
    .quad 0
startup_far:
    .long 1b - startup          # plus the page
    .word 8, 0
startup_gdtr:
    .word 23, 0, 0, 0
    .quad 0, 0, 0               # the GDT
startup_entry:
    .quad arrive - startup      # plus where this was copied from
startup_arrival:
    .quad 0

arrive:                         # (RSI: the struct Arrival, EBP: the guest's CR0)
    lgdt 22(%rsi)
    lidt 38(%rsi)
    movl $1, %eax
    xorl %ecx, %ecx
    cpuid
    shrl $24, %ebx              # the local APIC's number
    xorl %edi, %edi
1:  cmpl %ebx, 48(%rsi,%rdi,4)
    je 2f
    incl %edi
    cmpl 80(%rsi), %edi
    jb 1b
3:  hlt                         # nobody has told of this processor
    jmp 3b
2:  movl 84(%rsi), %eax
    imulq %rax, %rdi
    addq 8(%rsi), %rdi
    leaq STACK_SIZE(%rdi), %rsp
    movq %rsp, %rdi             # the state
    movl %ebp, %esi
    clgi
    call efi_join               # which never returns

    .balign 8
efi_constants:                  # how far from here the constants are: known when all is linked
    .quad 0

.bss
efi_room:
    .space 3*STACK_SIZE
