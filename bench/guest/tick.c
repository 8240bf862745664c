/* A PC's timer: counter 0 of its 8254 interrupts by the 8259A, each interrupt ended by an EOI.
 *
 * A kernel started by PVH. Its command line: RATE COUNT, ticks a second and in all. Says
 * "tick: begin" on COM1, sleeps until it has had COUNT ticks, says "tick: end", and sleeps for ever.
 * Freestanding, so that any gcc makes it.
 */

typedef unsigned char byte;
typedef unsigned long word;

enum { COM1 = 0x3F8, LINE_STATUS = COM1 + 5, EMPTY = 0x20 };
enum { MASTER = 0x20, SLAVE = 0xA0, VECTOR = 0x20, EOI = 0x20 };
enum { COUNTER_0 = 0x40, PIT_CONTROL = 0x43, RATE_GENERATOR = 0x34, CLOCK = 1193182 };
enum { COMMAND_LINE = 24 }; /* of hvm_start_info */
enum { CODE = 8, INTERRUPT_GATE = 0x8E };

static volatile word ticks;
static struct {
    unsigned short low, selector;
    byte stack, kind;
    unsigned short middle;
    unsigned high, reserved;
} gates[VECTOR + 1];

void tick(void);

static void out(unsigned short port, byte value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static byte in(unsigned short port)
{
    byte value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void say(const char *text)
{
    for (; *text; text++) {
        while (!(in(LINE_STATUS) & EMPTY))
            ;
        out(COM1, *text);
    }
}

static word number(const char **text)
{
    word value = 0;
    while (**text == ' ')
        ++*text;
    while (**text >= '0' && **text <= '9')
        value = value * 10 + *(*text)++ - '0';
    return value;
}

static void interrupts(void)
{
    struct __attribute__((packed)) {
        unsigned short limit;
        void *base;
    } table = {sizeof gates - 1, gates};
    word address = (word)tick;
    gates[VECTOR].low = address;
    gates[VECTOR].selector = CODE;
    gates[VECTOR].kind = INTERRUPT_GATE;
    gates[VECTOR].middle = address >> 16;
    __asm__ volatile("lidt %0" : : "m"(table));
    out(MASTER, 0x11); /* ICW1: edges, a pair, ICW4 follows */
    out(SLAVE, 0x11);
    out(MASTER + 1, VECTOR);
    out(SLAVE + 1, VECTOR + 8);
    out(MASTER + 1, 4); /* the slave's input */
    out(SLAVE + 1, 2);
    out(MASTER + 1, 1); /* ICW4: an 8086 */
    out(SLAVE + 1, 1);
    out(MASTER + 1, 0xFE);
    out(SLAVE + 1, 0xFF);
}

static void timer(word rate)
{
    word count = CLOCK / rate;
    out(PIT_CONTROL, RATE_GENERATOR);
    out(COUNTER_0, count);
    out(COUNTER_0, count >> 8);
}

__attribute__((used)) void run(const byte *start)
{
    const char *line = *(const char **)(start + COMMAND_LINE);
    word rate = number(&line), count = number(&line);
    interrupts();
    timer(rate);
    say("\ntick: begin\n");
    for (ticks = 0; ticks < count;)
        __asm__ volatile("sti\n hlt\n cli" : : : "memory");
    out(MASTER + 1, 0xFF);
    say("tick: end\n");
    for (;;)
        __asm__ volatile("hlt");
}

/* From PVH's 32-bit entry to 64-bit code, the first GiB mapped one to one by pages of 2 MiB. */
__asm__(
    ".pushsection .note.Xen, \"a\", @note\n"
    "   .long 4, 4, 18\n" /* XEN_ELFNOTE_PHYS32_ENTRY */
    "   .asciz \"Xen\"\n"
    "   .long _start\n"
    ".popsection\n"
    ".pushsection .data\n"
    "   .balign 4096\n"
    "level4: .quad level3 + 3\n"
    "   .balign 4096\n"
    "level3: .quad level2 + 3\n"
    "   .balign 4096\n"
    "level2: .set page, 0\n"
    "   .rept 512\n"
    "   .quad page << 21 | 0x83\n"
    "   .set page, page + 1\n"
    "   .endr\n"
    "segments: .quad 0, 0x00209A0000000000\n"
    "table: .short 15\n"
    "   .long segments\n"
    "   .balign 16\n"
    "   .skip 4096\n"
    "stack:\n"
    ".popsection\n"
    ".code32\n"
    ".globl _start\n"
    "_start: mov %ebx, %edi\n"
    "   mov $level4, %eax\n"
    "   mov %eax, %cr3\n"
    "   mov %cr4, %eax\n"
    "   or $0x20, %eax\n"
    "   mov %eax, %cr4\n"
    "   mov $0xC0000080, %ecx\n"
    "   rdmsr\n"
    "   or $0x100, %eax\n"
    "   wrmsr\n"
    "   mov %cr0, %eax\n"
    "   or $0x80000000, %eax\n"
    "   mov %eax, %cr0\n"
    "   lgdt table\n"
    "   ljmp $8, $long\n"
    ".code64\n"
    "long: xor %eax, %eax\n"
    "   mov %eax, %ss\n"
    "   mov %eax, %ds\n"
    "   mov %eax, %es\n"
    "   mov $stack, %rsp\n"
    "   call run\n"
    ".globl tick\n"
    "tick: push %rax\n"
    "   incq ticks\n"
    "   mov $0x20, %al\n"
    "   out %al, $0x20\n"
    "   pop %rax\n"
    "   iretq\n");
