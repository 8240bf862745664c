"""An interrupt output as the core sees it: its level, and whether it rose since it last looked."""

from vestige.lang.types import Struct, u8

NEVER = (1 << 64) - 1  # what next_deadline() answers where no time matters


class Line(Struct):
    """One source of interrupts.

    A model may lower and raise its line within one access; a pin that is edge-triggered must
    see that edge, so it is remembered here until the core takes it.
    """

    level: u8  # 0 or 1
    rose: u8  # 1: an edge the core has not taken yet

    def set(self, level: bool) -> None:
        """Drive the line."""
        if level and not self.level:
            self.rose = 1
        self.level = level

    def take_edge(self) -> bool:
        """Whether the line rose since the last call."""
        rose = self.rose != 0
        self.rose = 0
        return rose
