"""What QEMU's log of VMRUNs says, and what a read of the disk costs by it."""

from collections import Counter

from bench.efiemu_exits import BOOTING, GUEST, MONITOR, READING, count, difference, table

LOG = """
vmrun! 000000007e01e000
vmexit(0000007b, 0000000001f70011, 000000000040113a, 0000000000401139)!
vmrun! 000000007db10000
vmexit(0000007b, 0000000000f00010, 00000000c00006f1, 00000000c00006f0)!
vmrun! 000000007e01e000
vmexit(0000007b, 000000000cfe0011, 0000000000401139, 0000000000401139)!
vmrun! 000000007e01e000
vmexit(0000007b, 0000000001f20010, 0000000000401139, 0000000000401139)!
vmrun! 000000007e01e000
vmexit(00000400, 0000000100000006, 00000000fec00010, 0000000000401139)!
vmrun! 000000007e01e000
vmexit(00000072, 0000000000000000, 0000000000000000, 0000000000401139)!
vmrun! 000000007e01e000
vmexit(00000061, 0000000000000000, 0000000000000000, 0000000000401139)!
vmrun! 000000007db10000
vmexit(00000061, 0000000000000000, 0000000000000000, 0000000000401139)!
vmrun! 000000007db10000
vmexit(0000007b, 0000000000f00010, 00000000c00006f1, 00000000c00006f0)!
"""


def test_exits_are_counted_by_what_they_are_for_and_the_monitors_apart() -> None:
    assert count(LOG.splitlines()) == {
        GUEST: 6, MONITOR: 2, "Status or Command, read": 1, "configuration space": 1,
        "task file, written": 1, "the I/O APIC": 1, "CPUID": 1, "interrupts": 1,
    }  # fmt: skip


def test_a_read_is_the_difference_of_two_boots() -> None:
    few = Counter({GUEST: 1000, MONITOR: 100, "CPUID": 900, "interrupts": 100})
    many = Counter({GUEST: 1100, MONITOR: 300, "CPUID": 800, "interrupts": 300})
    assert difference(few, many, 100) == {GUEST: 2.0, MONITOR: 2.0, "interrupts": 2.0}


def test_the_table_says_what_they_come_to() -> None:
    found = {BOOTING: {GUEST: 20_000.0, MONITOR: 5_000.0}, READING: {GUEST: 30.0, MONITOR: 10.0}}
    lines = table(found, {GUEST: 10.0, MONITOR: 20.0})
    assert lines[2] == f"| {GUEST} | 20,000 | 30.0 |"
    assert lines[-2] == f"| {GUEST}, at 10 µs | 0.20 s | 0.30 ms |"
    assert lines[-1] == f"| {MONITOR}, at 20 µs | 0.10 s | 0.20 ms |"
    assert table(found, {})[-1] == f"| {MONITOR} | 5,000 | 10.0 |"
