"""One counter of an 8254 that does what the data sheet says at each pulse of CLK, one by one.

It shares nothing with the model, and can't skip a pulse. Counts are whole numbers; of modes 2 and 3
they are 2 or more, the least that the data sheet allows.
"""


class Chip:
    """A counter: its registers are written between pulses, and `clock` is one."""

    def __init__(self, *, gate: bool = True) -> None:
        self.mode, self.modulus = 0, 0x1_0000
        self.gate, self.out = gate, False
        self.register = 0  # the count register; 0: nothing was written
        self.element = 0  # the counting element
        self.odd = False  # mode 3: of what was loaded
        self.null_count = True
        self.loaded = self.to_load = self.trigger = self.armed = False

    def control(self, mode: int, *, decimal: bool = False) -> None:
        """A control word."""
        self.mode, self.modulus = mode, 10_000 if decimal else 0x1_0000
        self.out = mode != 0
        self.register, self.null_count = 0, True
        self.loaded = self.to_load = self.trigger = self.armed = False

    def first_byte(self) -> None:
        """The first of two bytes of a count."""
        if self.mode == 0:
            self.out = self.loaded = self.to_load = False

    def count(self, value: int) -> None:
        """The last byte of a count, or the only one."""
        self.register, self.null_count = value, True
        if self.mode == 0:
            self.out = self.loaded = False
        if self.mode in (0, 4) or (self.mode in (2, 3) and not self.loaded):
            self.to_load = True

    def drive(self, *, gate: bool) -> None:
        """GATE."""
        if gate and not self.gate and (self.register if self.mode in (1, 5) else self.loaded):
            self.trigger = self.mode in (1, 2, 3, 5)
        if not gate and self.loaded and self.mode in (2, 3):
            self.out = True
        self.gate = gate

    def clock(self) -> None:
        """A pulse."""
        if self.mode in (4, 5):
            self.out = True
        if self.to_load or self.trigger:
            self.out = {0: False, 1: False}.get(self.mode, True)
            self.load()
        elif self.loaded and (self.gate or self.mode in (1, 5)):
            self.step()

    def load(self) -> None:
        """The counting element takes the count."""
        self.element, self.odd = self.register, self.register % 2 == 1
        if self.mode == 3:
            self.element -= self.odd
        self.loaded = self.armed = True
        self.to_load = self.trigger = self.null_count = False

    def step(self) -> None:
        """The counting element goes down, by 2 in mode 3."""
        if self.mode == 3:
            ended = self.element == 0 if self.odd and self.out else self.element == 2
            self.element -= 2
            if ended:
                self.out = not self.out
                self.load()
        elif self.mode == 2:
            if self.element == 1:
                self.load()
                self.out = True
            else:
                self.element -= 1
            self.out = self.element != 1
        else:
            self.element = (self.element - 1) % self.modulus
            if self.element == 0 and self.armed:
                self.armed = False
                self.out = self.mode in (0, 1)

    def shown(self) -> int:
        """The counting element as it is read."""
        if self.modulus == 10_000:
            return int(f"{self.element % 10_000}", 16)
        return self.element & 0xFFFF
