"""Takes out of a list of CPUID entries what no processor has: a feature without what it needs.

KVM passes on each feature that it can run, and so do those who configure the processor below it;
software goes by what processors have. Sources: those of cpu_features.py; Linux,
arch/x86/kvm/cpuid.c, how KVM writes leaf 0xD.
"""

from _collections_abc import Iterable, Iterator, Mapping

from vestige.machine.cpu_features import (
    EAX,
    EBX,
    ECX,
    LEAF,
    LEAVES,
    NEEDS,
    WORDS,
    XCR0,
    XFD,
    XSAVE_LEAF,
    XSAVES,
    XSS,
    Entry,
)

REGISTER = 0xFFFF_FFFF
COMPONENTS = (1 << 64) - 1  # numbered, a bit each
LEGACY = 0b11  # the x87 and SSE components, which have no sub-leaf
LEGACY_SIZE = 576  # bytes of theirs and of the header, at the start of an XSAVE area
ALIGNMENT = 64  # bytes
COMPACTED = 0b1010  # leaf 0xD, sub-leaf 1, EAX: XSAVEC, XSAVES
# ECX of a component's sub-leaf
SUPERVISOR = 1 << 0  # of IA32_XSS, not of XCR0
ALIGNED = 1 << 1  # in the compacted format
FAULTING = 1 << 2  # may be disabled by IA32_XFD

# Of a leaf's index: its registers of WORDS, each with the number of its first feature.
_PLACES: dict[tuple[int, int], list[tuple[int, int]]] = {}
for _place, (_leaf, _index, _register) in enumerate(WORDS):
    _PLACES.setdefault((_leaf, _index), []).append((_register, 32 * _place))


# A set of features is a number, bit n for feature n. NEEDS as such sets: the feature alone, all
# that it needs, and those of which it needs one.
_RULES: list[tuple[int, int, list[int]]] = []
for _feature, _needs in NEEDS.items():
    _all, _choices = 0, []
    for _need in _needs:
        if isinstance(_need, int):
            _all |= 1 << _need
        else:
            _choices.append(sum(1 << each for each in _need))
    _RULES.append((1 << _feature, _all, _choices))


def with_needs(features: int) -> int:
    """The largest part of a set of features (bit n for feature n) of which all needs hold."""
    before = -1
    while features != before:
        before = features
        for feature, needs, choices in _RULES:
            if features & feature and (
                needs & ~features or not all(features & choice for choice in choices)
            ):
                features ^= feature
    return features


def consistent(entries: Iterable[Entry]) -> list[Entry]:
    """The entries less all features that lack what they need, and less what tells of those.

    Leaf 0xD agrees with them: its components, their sub-leaves, its sizes as KVM lists them (of
    all components; KVM shows the guest those of XCR0). All else is as it was.
    """
    everything = list(entries)
    states = {entry[1]: entry for entry in everything if entry[0] == XSAVE_LEAF}
    kept = with_needs(_offered(everything, states))
    gone = {leaf for number, leaf in enumerate(LEAVES) if not kept >> (LEAF + number) & 1}
    result = [_less(entry, kept) for entry in everything if entry[0] not in gone]
    return result if XSAVE_LEAF in gone else list(_with_areas(result, kept, states))


def _offered(entries: Iterable[Entry], states: Mapping[int, Entry]) -> int:
    """The set of features that the entries offer, less components that no sub-leaf describes."""
    features = 0
    for entry in entries:
        for register, first in _PLACES.get((entry[0], entry[1]), ()):
            features |= entry[register] << first
        if entry[0] in LEAVES and any(entry[EAX:]):
            features |= 1 << (LEAF + LEAVES.index(entry[0]))
    user, supervisor = LEGACY, 0
    for index, entry in states.items():
        if index > 1 and entry[EAX]:
            if entry[ECX] & SUPERVISOR:
                supervisor |= 1 << index
            else:
                user |= 1 << index
    if not features >> XSAVES & 1:
        supervisor = 0
    return features & ~((COMPONENTS ^ user) << XCR0 | (COMPONENTS ^ supervisor) << XSS)


def _less(entry: Entry, kept: int) -> Entry:
    """The entry with those of its features that are in `kept`."""
    values = list(entry)
    for register, first in _PLACES.get((entry[0], entry[1]), ()):
        values[register] = kept >> first & REGISTER
    function, index, flags, eax, ebx, ecx, edx = values
    return function, index, flags, eax, ebx, ecx, edx


def _with_areas(
    entries: Iterable[Entry], kept: int, states: Mapping[int, Entry]
) -> Iterator[Entry]:
    """The entries, leaf 0xD with the components in `kept` only and the sizes they make."""
    user, supervisor = kept >> XCR0 & COMPONENTS, kept >> XSS & COMPONENTS
    for entry in entries:
        function, index, flags, eax, ebx, ecx, edx = entry
        if function == XSAVE_LEAF:
            if index == 0:
                ebx = ecx = _size(user, states)
            elif index == 1:
                ebx = _compacted_size(user | supervisor, states) if eax & COMPACTED else 0
            elif not (user | supervisor) >> index & 1:
                continue
            elif not kept >> XFD & 1:
                ecx &= ~FAULTING
        yield function, index, flags, eax, ebx, ecx, edx


def _size(components: int, states: Mapping[int, Entry]) -> int:
    """Bytes of an XSAVE area in the standard format: each component has its place."""
    ends = [entry[EAX] + entry[EBX] for index, entry in states.items() if _has(components, index)]
    return max(LEGACY_SIZE, *ends) if ends else LEGACY_SIZE


def _compacted_size(components: int, states: Mapping[int, Entry]) -> int:
    """Bytes of an XSAVE area in the compacted format: each component follows the one before."""
    size = LEGACY_SIZE
    for index in sorted(states):
        if _has(components, index):
            entry = states[index]
            if entry[ECX] & ALIGNED:
                size = -(-size // ALIGNMENT) * ALIGNMENT
            size += entry[EAX]
    return size


def _has(components: int, index: int) -> bool:
    return index > 1 and bool(components >> index & 1)
