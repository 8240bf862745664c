"""What every processor's CPUID keeps to, as its makers' manuals say it: a second opinion.

Written from the manuals, one statement after the other, not from the table that is judged by it.
Sources: Intel SDM vol. 1, chapters 10 to 18 (what to check before an instruction is used); vol. 2A,
CPUID; AMD APM vol. 1, 3 (appendix E) and 4.
"""

from collections.abc import Iterable, Mapping

Registers = tuple[int, int, int, int]  # EAX, EBX, ECX, EDX
Leaves = Mapping[tuple[int, int], Registers]  # by leaf and index; what isn't there is zero

_REGISTERS = ("eax", "ebx", "ecx", "edx")
_NOTHING = (0, 0, 0, 0)


class Processor:
    """A processor by its CPUID."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves

    def leaf(self, leaf: int, index: int = 0) -> Registers:
        """EAX, EBX, ECX, EDX."""
        return self._leaves.get((leaf, index), _NOTHING)

    def has(self, name: str) -> bool:
        """Whether it has the feature of this place, such as "7.ecx.16" or "7/1.eax.4"."""
        where, register, bit = name.split(".")
        leaf, _, index = where.partition("/")
        value = self.leaf(int(leaf, 16), int(index or "0"))[_REGISTERS.index(register)]
        return bool(value >> int(bit) & 1)

    def components(self, user: bool) -> set[int]:
        """Those that XCR0 (or, for the supervisor, IA32_XSS) may have."""
        low, high = (self.leaf(0xD)[0], self.leaf(0xD)[3]) if user else self.leaf(0xD, 1)[2:]
        return {number for number in range(64) if (low | high << 32) >> number & 1}


# Each group: features, and what each of them is said to need.
_GROUPS: Iterable[tuple[str, str]] = (
    # SDM vol. 1, 10 to 12: each SSE builds on the one before; the first on FXSAVE, which is x87's.
    ("1.edx.24 1.edx.23", "1.edx.0"),
    ("1.edx.25 80000001.edx.25", "1.edx.24"),
    ("1.edx.26 80000001.ecx.7", "1.edx.25"),
    ("1.ecx.0", "1.edx.26"),
    ("1.ecx.9 80000001.ecx.6", "1.ecx.0"),
    ("1.ecx.19", "1.ecx.9 1.ecx.0 1.edx.26"),
    ("1.ecx.20", "1.ecx.19 1.ecx.9"),
    ("1.ecx.1 1.ecx.25 7.ebx.29 7.ecx.8", "1.edx.26 1.edx.25"),
    ("80000001.edx.22 80000001.edx.31", "1.edx.23"),
    ("80000001.edx.30", "80000001.edx.31"),
    # 64-bit mode needs PAE, EFER and SSE2, and what every 64-bit program takes for granted.
    ("80000001.edx.29", "1.edx.5 1.edx.6 1.edx.8 1.edx.15 1.edx.26"),
    ("80000001.edx.20", "1.edx.5 1.edx.6"),
    ("1.edx.17", "1.edx.3"),
    # Only 64-bit mode, or its paging, has these.
    ("1.ecx.13 1.ecx.17 7.ebx.0 7.ecx.16 7.ecx.3 7.ecx.31 7.edx.5 7.edx.24", "80000001.edx.29"),
    ("80000001.ecx.0 80000001.edx.26 7/1.eax.7 7/1.eax.17 7/1.eax.18", "80000001.edx.29"),
    ("7/1.eax.26 7/1.eax.27 7/1.eax.6 7/1.edx.15 7/1.edx.21", "80000001.edx.29"),
    ("7/1.eax.17", "7/1.eax.18"),
    ("7/1.eax.6", "7.ebx.20"),
    # The local APIC and the time-stamp counter.
    ("1.ecx.21", "1.edx.9 1.edx.5"),
    ("1.ecx.24", "1.edx.9 1.edx.5 1.edx.4"),
    ("6.eax.2 80000001.ecx.3", "1.edx.9"),
    ("7.ebx.1", "1.edx.4 1.edx.5"),
    ("80000001.edx.27 80000007.edx.8", "1.edx.4"),
    # SDM vol. 1, 13: XSAVE and its extensions.
    ("1.ecx.26", "1.edx.24 D.eax.0 D.eax.1"),
    ("1.ecx.27 D/1.eax.0 D/1.eax.1 D/1.eax.2 D/1.eax.3", "1.ecx.26"),
    ("D/1.eax.4", "D/1.eax.2 D/1.eax.3"),
    # SDM vol. 1, 14: AVX has its state in XCR0; all that is encoded with VEX and works on vectors.
    ("1.ecx.28", "1.ecx.26 D.eax.1 D.eax.2 1.ecx.20"),
    ("1.ecx.12 1.ecx.29 7.ebx.5 80000001.ecx.11 80000001.ecx.16 7/1.eax.1", "1.ecx.28"),
    ("7.ecx.9 7.ecx.10 7/1.eax.0 7/1.eax.2 7/1.eax.4 7/1.eax.23", "1.ecx.28 7.ebx.5"),
    ("7/1.edx.4 7/1.edx.5 7/1.edx.10", "1.ecx.28 7.ebx.5"),
    ("7.ecx.9", "1.ecx.25"),
    ("7.ecx.10", "1.ecx.1"),
    # SDM vol. 1, 15: AVX-512 has three components; each extension needs the foundation.
    ("7.ebx.16 7/1.edx.19", "D.eax.5 D.eax.6 D.eax.7 7.ebx.5 1.ecx.12 1.ecx.29"),
    ("7.ebx.17 7.ebx.21 7.ebx.26 7.ebx.27 7.ebx.28 7.ebx.30 7.ebx.31", "7.ebx.16"),
    ("7.ecx.1 7.ecx.6 7.ecx.11 7.ecx.12 7.ecx.14", "7.ebx.16"),
    ("7.edx.2 7.edx.3 7.edx.8 7.edx.23 7/1.eax.5", "7.ebx.16"),
    ("7.ecx.1 7.ecx.6 7.ecx.12 7.edx.23", "7.ebx.30"),
    ("7.ecx.6 7.ecx.11 7.ecx.12 7.edx.8 7.edx.23 7/1.eax.5", "7.ebx.31"),
    ("7.edx.23", "7.ebx.17"),
    # The other features with a state of their own.
    ("7.ebx.14", "1.ecx.26 D.eax.3 D.eax.4"),
    ("7.ecx.3", "1.ecx.26 D.eax.9"),
    ("7.ecx.4", "7.ecx.3"),
    ("7/1.edx.21", "1.ecx.26 D.eax.19"),
    ("80000001.ecx.15", "1.ecx.26 D.edx.30"),
    ("7.edx.24", "1.ecx.26 D/1.eax.4 D.eax.17 D.eax.18"),
    ("7.edx.22 7.edx.25 7/1.eax.21 7/1.edx.8", "7.edx.24"),
    ("7.ecx.7 7.edx.20", "D/1.eax.3 D/1.ecx.11 D/1.ecx.12"),
    ("7/1.edx.18", "7.ecx.7"),
    ("7.ecx.29", "D/1.eax.3"),
    ("7.ecx.30", "7.ebx.2"),
    ("7.edx.16", "7.ebx.11"),
)

# A component is listed for one of these features.
_USER = {
    0: "1.ecx.26",
    1: "1.edx.25",
    2: "1.ecx.28",
    **dict.fromkeys((3, 4), "7.ebx.14"),
    **dict.fromkeys((5, 6, 7), "7.ebx.16 7/1.edx.19"),
    9: "7.ecx.3",
    **dict.fromkeys((17, 18), "7.edx.24"),
    19: "7/1.edx.21",
    62: "80000001.ecx.15",
}
_SUPERVISOR = {
    8: "7.ebx.25",
    10: "7.ecx.29",
    **dict.fromkeys((11, 12), "7.ecx.7 7.edx.20"),
    13: "6.eax.13",
    14: "7.edx.5",
    15: "7.edx.19",
    16: "6.eax.7",
}
# A leaf is there with its feature, and the other way round.
_LEAVES = {
    0xD: "1.ecx.26",
    0x12: "7.ebx.2",
    0x14: "7.ebx.25",
    0x1C: "7.edx.19",
    0x1D: "7.edx.24",
    0x1E: "7.edx.24",
    0x24: "7/1.edx.19",
    0x8000_001C: "80000001.ecx.15",
}


def broken(leaves: Leaves) -> list[str]:
    """The rules that a processor with this CPUID breaks, in words; none if it is a possible one."""
    processor = Processor(leaves)
    found = [
        f"{feature} without {need}"
        for features, needs in _GROUPS
        for feature in features.split()
        if processor.has(feature)
        for need in needs.split()
        if not processor.has(need)
    ]
    for bit in range(32):
        amd_s = bit < 10 or 12 <= bit < 18 or bit in (23, 24)
        if amd_s and processor.has(f"80000001.edx.{bit}") and not processor.has(f"1.edx.{bit}"):
            found.append(f"80000001.edx.{bit} without its double")
    for leaf, feature in _LEAVES.items():
        here = any(any(value) for (each, _), value in leaves.items() if each == leaf)
        if here != processor.has(feature):
            found.append(f"leaf {leaf:#x} {'without' if here else 'is not there for'} {feature}")
    if processor.has("1.ecx.26"):
        found += _broken_areas(processor, leaves)
    return found


def _broken_areas(processor: Processor, leaves: Leaves) -> list[str]:
    """The rules of leaf 0xD, SDM vol. 1, 13.2 and 13.4.3."""
    found = []
    user, supervisor = processor.components(user=True), processor.components(user=False)
    for owners, listed in ((_USER, user), (_SUPERVISOR, supervisor)):
        for component in listed:
            if component in owners and not any(map(processor.has, owners[component].split())):
                found.append(f"component {component} without {owners[component]}")
    if supervisor and not processor.has("D/1.eax.3"):
        found.append("supervisor components without XSAVES")
    described = {index for (leaf, index), value in leaves.items() if leaf == 0xD and any(value)}
    if described - {0, 1} != (user | supervisor) - {0, 1}:
        found.append(f"sub-leaves {described} for components {user} and {supervisor}")
    largest, packed = 576, 576
    for component in sorted((user | supervisor) - {0, 1}):
        size, offset, flags, _ = processor.leaf(0xD, component)
        if bool(flags & 1) != (component in supervisor):
            found.append(f"component {component} is of the other register")
        if flags & 4 and not processor.has("D/1.eax.4"):
            found.append(f"component {component} faults without XFD")
        if component in user:
            largest = max(largest, offset + size)
        packed = (packed + 63 & ~63 if flags & 2 else packed) + size
    if processor.leaf(0xD)[2] != largest:
        found.append(f"an area of {processor.leaf(0xD)[2]} bytes, not {largest}")
    if not 576 <= processor.leaf(0xD)[1] <= largest:
        found.append(f"an area of now {processor.leaf(0xD)[1]} bytes of {largest}")
    compacts = processor.has("D/1.eax.1") or processor.has("D/1.eax.3")
    if processor.leaf(0xD, 1)[1] > packed * compacts:
        found.append(f"a packed area of {processor.leaf(0xD, 1)[1]} bytes, not {packed}")
    return found
