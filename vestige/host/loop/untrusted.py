"""What the host reads of memory that the monitor writes: all of it is here, copied and bounded.

Threat: a subverted monitor puts anything there, at any time, while it is read too. So each number
is read once, into a copy, and is bounded where it is used as an index or a length: by its type, or
here by a constant. What else is made of it is a number that is printed, a message for the guest's
own local APICs (KVM's to check), or text for `failure.escaped`.

The run loop reads these numbers more. The arguments of a KICK: a ring's number, bounded there,
whether to yield, and how many requests are under way, which decides, with the ring's own count of
completions, who serves its disks (notices.py), and how much of the network has moved, which decides
when its worker runs, and is bounded there (patience.py). The doorbell that DONE rings, bounded
there. The arguments of an INJECT: a vector, of which a byte counts, whether to exit, and the time
of an alarm, bounded in bell.py. The data of an answered access to memory, 8 bytes of
`Cpu.exit.union`: they go to kvm_run as they are, and KVM gives the guest those that it reads.
`Shared.answers`, which are compared with an access of the guest's: of one that is equal a byte goes
to kvm_run. The indices of KVM's queue of writes: whether they are equal.

A viewer's process reads the record of the screen by itself, and bounds its copy here, too.

What the host itself has written for the monitor to read, Config, it does not read back after the
monitor's first instruction: `configs` are copies, made before.
"""

import struct
from _collections_abc import Sequence

from vestige import abi
from vestige.host.kvm.memory import PrivateMemory
from vestige.host.kvm.vm import VirtualCpu

LEAST_WINDOW = abi.MAX_SCREEN_COLUMNS * abi.CELL_SIZE
ROUTE = struct.Struct("<QI4x")  # an abi.Route
DETAIL_SIZE = 8  # bytes of kvm_run's union that say more of an exit


class Untrusted:
    """The memory of a machine's monitors, to be read. Any thread may."""

    def __init__(self, private: PrivateMemory, domains: int) -> None:
        """Before the monitor's first instruction: its Configs are the host's own until then."""
        self._shared = [private.shared(domain) for domain in range(domains)]
        self._private = private
        self.configs: Sequence[abi.Config] = [
            abi.Config.from_buffer_copy(each.config) for each in self._shared
        ]

    def arguments(self, index: int) -> tuple[int, ...]:
        """Those of the call that monitor vCPU `index` has left with: any numbers of 64 bits."""
        return tuple(self._private.cpu(index).argument)

    def answer(self, index: int, value: int) -> None:
        """Write what that call answers, where its first argument was."""
        self._private.cpu(index).argument[0] = value

    def panic(self, index: int) -> abi.Panic:
        """Why monitor vCPU `index` says that it failed."""
        return abi.Panic.from_buffer_copy(self._private.cpu(index).panic)

    def route(self, gsi: int, domain: int) -> tuple[int, int] | None:
        """The message, (address, data), that a domain wants for a GSI; None: one there isn't."""
        if gsi >= abi.GSIS or domain >= len(self._shared):
            return None
        route = abi.Route.from_buffer_copy(self._shared[domain].routes[gsi])
        return route.address, route.data

    def routes(self, domain: int) -> dict[int, tuple[int, int]]:
        """All that a domain wants, as `route` has them, by their GSIs."""
        routes = bytes(self._shared[domain].routes)
        return {
            gsi: (address, data)
            for gsi, (address, data) in enumerate(ROUTE.iter_unpack(routes))
            if address
        }

    def log(self, length: int) -> bytes:
        """So much of what is logged, as far as there is room for it; text of any bytes."""
        return bytes(memoryview(self._shared[0].log)[:length])

    def screen(self) -> abi.Screen:
        """The guest's screen, as `bounded` has it."""
        return self.bounded(abi.Screen.from_buffer_copy(self._shared[0].screen))

    @staticmethod
    def bounded(screen: abi.Screen) -> abi.Screen:
        """The same. What it says of memory is inside of SCREEN_MEMORY, row for row.

        Of graphics: inside of that, or of a region that there may be, line for line, and no more
        bytes than that region has.
        """
        end = abi.SCREEN_MEMORY + abi.SCREEN_MEMORY_SIZE
        screen.kind = min(screen.kind, abi.ScreenKind.GRAPHICS)
        screen.columns = within(screen.columns, 1, abi.MAX_SCREEN_COLUMNS)
        screen.rows = within(screen.rows, 1, abi.MAX_SCREEN_ROWS)
        screen.window_size = within(screen.window_size, LEAST_WINDOW, abi.SCREEN_MEMORY_SIZE)
        screen.window = within(screen.window, abi.SCREEN_MEMORY, end - screen.window_size)
        screen.character_width = within(screen.character_width, 8, 9)
        screen.character_height = within(screen.character_height, 1, abi.GLYPH_SIZE)
        most = 2 if screen.kind == abi.ScreenKind.TEXT else abi.MAX_DOT
        screen.dot_width = within(screen.dot_width, 1, most)
        screen.dot_height = within(screen.dot_height, 1, most)
        screen.region = min(screen.region, len(abi.REGIONS))
        screen.depth = screen.depth if screen.depth in abi.DEPTHS else 0
        size = abi.REGIONS[screen.region - 1][1] if screen.region else screen.window_size
        dot = -(-screen.depth // 8) or 1
        screen.width = within(screen.width, 1, min(abi.MAX_SCREEN_WIDTH, size // dot))
        line = abi.line_size(screen.width, screen.depth) or screen.width
        screen.height = within(screen.height, 1, max(size // line, 1))
        for font in range(abi.FONTS):
            place = screen.fonts[font]
            screen.fonts[font] = within(place, abi.SCREEN_MEMORY, end - abi.FONT_SIZE)
        for colour in range(abi.SCREEN_COLOURS):
            screen.colours[colour] &= 0xFF_FFFF
        for colour in range(abi.PALETTE):
            screen.palette[colour] &= 0xFF_FFFF
        return screen

    def statistics(self) -> Sequence[abi.Statistics]:
        """What each domain counts and reports: any numbers that the fields hold."""
        return [abi.Statistics.from_buffer_copy(each.statistics) for each in self._shared]


def within(number: int, least: int, most: int) -> int:
    """The nearest number that is in these bounds."""
    return min(max(number, least), most)


def exit_detail(cpu: VirtualCpu) -> int:
    """The first 64 bits of kvm_run's union, of a guest vCPU: by what its guest did."""
    return int.from_bytes(cpu.mapping[abi.RUN_UNION : abi.RUN_UNION + DETAIL_SIZE], "little")
