"""HPET registers. Intel, IA-PC HPET (High Precision Event Timers) Specification 1.0a, 2.3."""

from vestige.lang.enumeration import IntEnum, IntFlag

TIMERS = 3
PERIOD = 10_000_000  # of the main counter, in femtoseconds: 10 ns
FIRST_ROUTE = 20
ROUTES = 0x7 << FIRST_ROUTE  # bit n: a timer may use pin n; 20 to 22 are nobody else's


class Register(IntEnum):
    """Offsets, 64 bits each; timer n's are TIMER_STRIDE * n further on."""

    # RO: bits 0 to 7 revision, 8 to 12 the last timer's number, 13 the counter has 64 bits, 15
    # there are IRQ 0 and 8 to replace (there are not), 16 to 31 vendor, 32 to 63 PERIOD; 2.3.4
    CAPABILITIES = 0x000
    CONFIGURATION = 0x010  # RW
    STATUS = 0x020  # RW, a 1 clears: bit n is timer n's level-triggered interrupt
    COUNTER = 0x0F0  # RW while halted
    TIMER_CONFIGURATION = 0x100  # RW
    TIMER_COMPARATOR = 0x108  # RW
    TIMER_MESSAGE = 0x110  # RW where there is FSB delivery: not here


TIMER_STRIDE = 0x20


class Configuration(IntFlag):
    """2.3.5."""

    ENABLE = 1 << 0  # ENABLE_CNF: the main counter runs, and timers interrupt
    WRITABLE = ENABLE


ROUTE_SHIFT = 9


class TimerConfiguration(IntFlag):
    """2.3.8; bits 32 to 63 are the pins a timer may use, ROUTES."""

    LEVEL = 1 << 1  # INT_TYPE_CNF
    INTERRUPT = 1 << 2  # INT_ENB_CNF
    PERIODIC = 1 << 3  # TYPE_CNF
    CAN_PERIODIC = 1 << 4  # PER_INT_CAP, RO
    CAN_64 = 1 << 5  # SIZE_CAP, RO
    SET_VALUE = 1 << 6  # VAL_SET_CNF: the next write of a comparator in periodic mode sets it
    MODE_32 = 1 << 8  # 32MODE_CNF
    ROUTE = 0x1F << ROUTE_SHIFT  # INT_ROUTE_CNF: a pin
    WRITABLE = LEVEL | INTERRUPT | PERIODIC | SET_VALUE | MODE_32 | ROUTE


RESET_TIMER = (
    TimerConfiguration.CAN_PERIODIC | TimerConfiguration.CAN_64 | FIRST_ROUTE << ROUTE_SHIFT
)
