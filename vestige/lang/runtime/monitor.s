# Compiled code on a virtual CPU, in ring 3: it has ports, and no other privilege.
#
# Exceptions and interrupts are taken in ring 0, on a stack of PRIVILEGED_STACK bytes, aligned to
# them, whose lowest word is the struct's address. A worker's sleep and its local APIC need ring 0
# too: ring 3 asks by INT3, the one trap that every KVM takes (one that emulates ring 0 knows neither
# INT n nor SYSRET).
.text
.globl interrupt_wake, gate

.macro find_cpu register
    movq %rsp, \register
    andq $-PRIVILEGED_STACK, \register
    movq (\register), \register
.endm

exception:                      # stack: vector, error code, RIP
    find_cpu %rbx
    popq PANIC_VECTOR(%rbx)
    popq PANIC_ERROR(%rbx)
    popq PANIC_RIP(%rbx)
    movq %cr2, %rax
    movq %rax, PANIC_ADDRESS(%rbx)
    movq $0, PANIC_SITE(%rbx)
    jmp tell_panic

.macro stub vector, has_error
.globl exception_\vector
exception_\vector:
    .if \has_error == 0
    pushq $0
    .endif
    pushq $\vector
    jmp exception
.endm

.irp vector, 0, 1, 2, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31
stub \vector, 0
.endr
.irp vector, 8, 10, 11, 12, 13, 14, 17, 21, 29, 30
stub \vector, 1
.endr

.macro signal number
.globl interrupt_signal_\number
interrupt_signal_\number:       # set in Vcpu.signals; then as below
    pushq %rax
    find_cpu %rax
    movb $1, CPU_SIGNALS+\number(%rax)
    jmp end_of_interrupt
.endm

.irp number, 0, 1, 2, 3, 4, 5
signal \number
.endr

interrupt_wake:                 # an end to HLT: the worker looks
    pushq %rax
    find_cpu %rax
end_of_interrupt:
    btrl $0, CPU_ENDED(%rax)    # where KVM has done it, that spares an exit
    jc 1f
    end_interrupt
1:  popq %rax
    testb $3, 8(%rsp)           # CS
    jnz 2f
    movq 24(%rsp), %rsp         # ring 0, thus the gate at HLT, or before it where an emulator forgets
2:  iretq                       # STI's shadow: back to who asked for sleep

gate:                           # INT3. ECX: an MSR, EDX:EAX: its value; or ECX 0: sleep
    testl %ecx, %ecx
    jz 2f
    cmpl $0x800, %ecx           # the local APIC's are 0x800 to 0x8FF
    jb 3f
    cmpl $0x8FF, %ecx
    ja 3f
1:  wrmsr
    iretq
2:  sti
    hlt
    iretq
3:  cmpl $0x4B564D04, %ecx      # MSR_KVM_EOI_EN
    je 1b
    pushq $0                    # no other: as WRMSR in ring 3
    pushq $13
    jmp exception
