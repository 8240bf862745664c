/* How long `in` takes on a port: port NUMBER BATCHES COUNT. Needs root, for ioperm(2).
 *
 * Prints "port: NUMBER NANOSECONDS" for each batch of COUNT reads of a byte, the time of one by
 * CLOCK_MONOTONIC. Freestanding, so that any gcc makes it: -static -nostdlib -ffreestanding.
 */

enum { SYS_write = 1, SYS_exit = 60, SYS_ioperm = 173, SYS_clock_gettime = 228 };

static long call(long number, long a, long b, long c)
{
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return answer;
}

static long nanoseconds(void)
{
    long now[2];
    call(SYS_clock_gettime, 1, (long)now, 0);
    return now[0] * 1000000000 + now[1];
}

static long number(const char *text)
{
    long value = 0;
    while (*text)
        value = value * 10 + *text++ - '0';
    return value;
}

static char *decimal(char *end, long value)
{
    do
        *--end = '0' + value % 10;
    while (value /= 10);
    return end;
}

static void say(long port, long time)
{
    char line[64], *end = line + sizeof line, *start = end;
    *--start = '\n';
    start = decimal(start, time);
    *--start = ' ';
    start = decimal(start, port);
    for (const char *word = " :trop"; *word; word++)
        *--start = *word;
    call(SYS_write, 1, (long)start, end - start);
}

__attribute__((used)) static void run(long *stack)
{
    char **arguments = (char **)(stack + 1);
    long port = number(arguments[1]), batches = number(arguments[2]), count = number(arguments[3]);
    if (call(SYS_ioperm, port, 1, 1))
        call(SYS_exit, 1, 0, 0);
    while (batches--) {
        long start = nanoseconds();
        for (long i = 0; i < count; i++)
            __asm__ volatile("inb %w0, %%al" : : "d"(port) : "rax");
        say(port, (nanoseconds() - start) / count);
    }
    call(SYS_exit, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
