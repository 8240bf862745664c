"""Our PIIX4's ports and QEMU's side by side: the same accesses at the same times, the same answers.

QEMU's clock is a virtual one that a test steps, and stands still between steps; ours follows it.
QEMU takes registers of 16 and 32 bits as such, and other accesses not as the chip does: so these
alone are made. What it does otherwise (see the device's page) is left out here.
"""

import random

from tests.qtest.virtual_clock import SHORTEST, TICK, VirtualClock
from vestige.abi import PIN_SCI
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.piix4_pm.model import PowerManagement
from vestige.monitor.devices.piix4_pm.spec import (
    CONTROL_WRITABLE,
    ENABLE_WRITABLE,
    PORT_PM,
    PORTS_ENABLED,
    Config,
    Control,
    Register,
)

WITHOUT_SMM = ("-machine", "smm=off")  # as here: ACPI mode is the only one
FUNCTION = 1 << 31 | 1 << 11 | 3 << 8  # 00:01.3 in CONFIG_ADDRESS
ACCESSES = 40  # in one sequence
SIZES = {Register.STATUS: 2, Register.ENABLE: 2, Register.CONTROL: 2, Register.TIMER: 4}
WRITABLE = {
    Register.STATUS: 0xFFFF,
    Register.ENABLE: int(ENABLE_WRITABLE),
    Register.CONTROL: int(CONTROL_WRITABLE),
}
SET = {Register.CONTROL: int(Control.SCI)}  # QEMU lets it be cleared
STEPS = (SHORTEST, SECOND // 7, SECOND, 3 * SECOND)  # ns; the timer's highest bit lasts 2.34 s


class Pair:
    """Both, from power-on."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.theirs = clock, clock.machine
        self.ours = PowerManagement()
        self.ours.reset()
        self.log: list[str] = []
        self.theirs.send("irq_intercept_in ioapic")
        for register, value in ((Config.BASE, PORT_PM), (Config.MISCELLANEOUS, PORTS_ENABLED)):
            self.theirs.write(0xCF8, FUNCTION | register, 4)
            self.theirs.write(0xCFC, value, 4)
        self.theirs.flush()

    def write(self, register: int, value: int) -> None:
        """16 bits, to both."""
        self.log.append(f"{register:#x} := {value:#x}")
        now = self.clock.now()
        self.theirs.write(PORT_PM + register, value, 2)
        self.theirs.flush()
        for byte in range(2):
            self.ours.write(register + byte, 1, value >> 8 * byte & 0xFF, now)

    def read(self, register: int, size: int) -> tuple[set[int], int]:
        """What ours may answer, as the time is known to a TICK; QEMU's answer."""
        now = self.clock.now()
        index = self.theirs.read(PORT_PM + register, size)
        answer = self.theirs.flush()[index]
        times = (now, now + TICK - 1) if register == Register.TIMER else (now,)
        mine = {
            sum(self.ours.read(register + byte, 1, time) << 8 * byte for byte in range(size))
            for time in times
        }
        return mine, answer

    def compare(self, register: int) -> str | None:
        """A difference in words."""
        mine, other = self.read(register, SIZES[Register(register)])
        self.log.append(f"read {register:#x}")
        if other in mine:
            return None
        return f"{'; '.join(self.log)}: ours {min(mine):#x}, QEMU's {other:#x}"

    def begin(self) -> None:
        """Nothing has happened, nothing is enabled."""
        self.log.clear()
        self.write(Register.ENABLE, 0)
        self.write(Register.CONTROL, Control.SCI)
        self.write(Register.STATUS, 0xFFFF)

    def step(self, length: int) -> None:
        """Let time pass, and a little more: QEMU looks at a deadline of this step in the next."""
        self.log.append(f"{length} ns")
        self.clock.step(length)
        self.ours.expire(self.clock.step(SHORTEST))

    def compare_lines(self) -> str | None:
        """The SCI."""
        self.ours.expire(self.clock.now())
        mine, other = self.ours.line.level != 0, self.theirs.levels.get(PIN_SCI, False)
        if mine == other:
            return None
        return f"{'; '.join(self.log)}: SCI ours {mine}, QEMU's {other}"

    def sequence(self, chance: random.Random) -> str | None:
        """A random one; the first difference."""
        self.begin()
        for _ in range(ACCESSES):
            register = chance.choice(list(SIZES))
            if register in WRITABLE and chance.random() < 0.4:
                value = chance.getrandbits(16) & WRITABLE[register]
                self.write(register, value | SET.get(register, 0))
            elif difference := self.compare(register):
                return difference
            if chance.random() < 0.05:
                self.step(chance.choice(STEPS))
            if difference := self.compare_lines():
                return difference
        return None
