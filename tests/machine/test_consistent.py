"""Of any features that a hypervisor offers those remain which a processor has together."""

from collections.abc import Iterable
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.machine.processor_rules import Leaves, broken
from vestige.machine import cpu_features as features
from vestige.machine.consistent import consistent
from vestige.machine.cpu_features import Entry

KNOWN = frozenset(features.NEEDS) | {
    need
    for needs in features.NEEDS.values()
    for each in needs
    for need in (each if isinstance(each, tuple) else (each,))
}
# The sub-leaves of leaf 0xD as processors have them: size, offset (in the standard format), flags.
AREAS = {
    2: (256, 576, 0),
    3: (64, 960, 0),
    4: (64, 1024, 0),
    5: (64, 1088, 0),
    6: (512, 1152, 0),
    7: (1024, 1664, 0),
    9: (8, 2688, 0),
    17: (64, 2752, 2),
    18: (8192, 2816, 6),
    19: (128, 960, 0),
    62: (128, 832, 0),
    8: (128, 0, 1),
    10: (8, 0, 1),
    11: (16, 0, 1),
    12: (24, 0, 1),
    13: (8, 0, 1),
    14: (48, 0, 3),
    15: (808, 0, 3),
    16: (8, 0, 1),
}


def offering(numbers: Iterable[int]) -> list[Entry]:
    """What a KVM lists that offers these features."""
    offered = frozenset(numbers)
    leaves = {(leaf, index): [0, 0, 0, 0] for leaf, index, _ in features.WORDS}
    for number in offered:
        place, bit = divmod(number, 32)
        if place < len(features.WORDS):
            leaf, index, register = features.WORDS[place]
            leaves[leaf, index][register - features.EAX] |= 1 << bit
        elif features.LEAVES[bit] != features.XSAVE_LEAF:
            leaves[features.LEAVES[bit], 0] = [1, 2, 3, 4]
    user = {number for number in AREAS if features.XCR0 + number in offered}
    supervisor = {number for number in AREAS if features.XSS + number in offered}
    ends = [AREAS[number][0] + AREAS[number][1] for number in user]
    if features.XSAVE_HERE in offered or user:
        leaves[0xD, 0][1] = leaves[0xD, 0][2] = max([576, *ends])
    if offered & {features.XSAVEC, features.XSAVES}:
        leaves[0xD, 1][1] = packed(user | supervisor)
    for number in user | supervisor:
        size, offset, flags = AREAS[number]
        if features.XFD not in offered:
            flags &= ~4
        leaves[0xD, number] = [size, offset, flags, 0]
    return [
        (leaf, index, 1, eax, ebx, ecx, edx)
        for (leaf, index), (eax, ebx, ecx, edx) in sorted(leaves.items())
    ]


def packed(components: Iterable[int]) -> int:
    size = 576
    for number in sorted(components):
        if AREAS[number][2] & 2:
            size = (size + 63) & ~63
        size += AREAS[number][0]
    return size


def leaves(entries: Iterable[Entry]) -> Leaves:
    """As a guest would read them: what isn't there is zero, as what is zero."""
    return {(entry[0], entry[1]): entry[3:] for entry in entries if any(entry[3:])}


def kept(numbers: Iterable[int]) -> frozenset[int]:
    """Of these features those that remain."""
    found = leaves(consistent(offering(numbers)))
    result = set()
    for number in KNOWN:
        place, bit = divmod(number, 32)
        if place < len(features.WORDS):
            leaf, index, register = features.WORDS[place]
            if found.get((leaf, index), (0, 0, 0, 0))[register - features.EAX] >> bit & 1:
                result.add(number)
        elif (features.LEAVES[bit], 0) in found:
            result.add(number)
    return frozenset(result)


def named(names: str) -> frozenset[int]:
    return frozenset(getattr(features, name) for name in names.split())


# APX has its state where MPX had it, so no processor has both.
POSSIBLE_AT_ONCE = KNOWN - {features.APX_F, features.APX_STATE}

OFFERS = st.one_of(
    st.frozensets(st.sampled_from(sorted(KNOWN))),
    # Nearly everything: what few lack takes the more with it.
    st.frozensets(st.sampled_from(sorted(KNOWN)), max_size=8).map(KNOWN.difference),
    # A few, with all that they need but for one or two.
    st.tuples(
        st.frozensets(st.sampled_from(sorted(KNOWN)), max_size=4),
        st.frozensets(st.sampled_from(sorted(KNOWN)), max_size=2),
    ).map(lambda drawn: needed(drawn[0]) - drawn[1]),
)


def needed(numbers: Iterable[int]) -> frozenset[int]:
    """These features and all that they need, and that needs in its turn."""
    found: set[int] = set()
    todo = list(numbers)
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            for need in features.NEEDS.get(number, ()):
                todo += need if isinstance(need, tuple) else (need,)
    return frozenset(found)


@given(OFFERS)
@example(KNOWN)
@example(KNOWN - {features.XSAVE})
@example(KNOWN - {features.SSE2})
def test_whatever_is_offered_a_processor_remains(offered: frozenset[int]) -> None:
    assert broken(leaves(consistent(offering(offered)))) == []


@given(OFFERS)
def test_what_a_processor_has_stays_as_it_is(offered: frozenset[int]) -> None:
    once = consistent(offering(offered))
    assert consistent(once) == once


@given(OFFERS, OFFERS)
def test_nothing_goes_because_of_what_else_is_offered(
    one: frozenset[int], other: frozenset[int]
) -> None:
    """So there is one largest part of an offer that goes together, and it is this one."""
    assert kept(one) <= kept(one | other)


@given(OFFERS)
def test_nothing_comes_that_is_not_offered(offered: frozenset[int]) -> None:
    assert kept(offered) <= offered | {features.XSAVE_HERE}


FAMILIES = {
    "AVX": "SSE2 SSE4_2 XSAVE AVX AVX_STATE AVX2 FMA F16C VAES AES XOP",
    "AVX-512": "XSAVE AVX AVX2 FMA AVX512F AVX512BW AVX512VL AVX512_VBMI2 OPMASK_STATE AVX10",
    "AMX": "XSAVE XSAVES XGETBV_1 XFD AMX_TILE AMX_INT8 TILECFG_STATE TILEDATA_STATE TILES_HERE",
    "CET": "XSAVE XSAVEC XSAVES CET_SS CET_IBT CET_SSS CET_U_STATE CET_S_STATE ENQCMD PASID_STATE",
    "64 bits": "FPU MSR PAE SSE2 LONG_MODE CMPXCHG16B PCID PKU PKRU_STATE LAM LKGS FRED",
    "APIC and TSC": "APIC MSR TSC X2APIC TSC_DEADLINE TSC_ADJUST RDTSCP INVARIANT_TSC ARAT",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_of_each_family_every_subset_leaves_a_processor_and_all_of_it(family: str) -> None:
    """Everything else is offered. Judged by the rules alone: no larger part of it keeps to them."""
    members = sorted(named(FAMILIES[family]))
    largest: dict[frozenset[int], frozenset[int]] = {}
    for size in range(len(members) + 1):
        for chosen in map(frozenset, combinations(members, size)):
            offered = POSSIBLE_AT_ONCE - set(members) | chosen
            result = kept(offered)
            assert broken(leaves(offering(result))) == [], chosen
            for member in chosen:
                smaller = largest[chosen - {member}]
                assert smaller <= result, (chosen, member)
            if result != offered:
                assert broken(leaves(offering(offered))), chosen
            largest[chosen] = result


BASE = needed(named("LONG_MODE NX MMX TSC APIC PSE36 ARAT"))
WESTMERE = BASE | needed(named("SSE4_2 AES PCLMULQDQ CMPXCHG16B PCID PAGES_1G RDTSCP"))
HASWELL = WESTMERE | needed(named("AVX2 FMA F16C XSAVEOPT FSGSBASE TSC_DEADLINE INVARIANT_TSC"))
SKYLAKE = HASWELL | needed(named("XSAVES XSAVEC XGETBV_1 SMAP PROCESSOR_TRACE PT_STATE"))
SKYLAKE_SERVER = SKYLAKE | needed(named("AVX512DQ AVX512BW AVX512CD AVX512VL PKU OSPKE MPX"))
ICE_LAKE = SKYLAKE_SERVER - named("MPX BNDREGS_STATE BNDCSR_STATE") | needed(
    named("AVX512_VBMI2 AVX512_VNNI AVX512_BITALG AVX512_VPOPCNTDQ VAES VPCLMULQDQ GFNI SHA LA57")
)
ZEN_2 = HASWELL - named("PCID TSC_DEADLINE") | needed(named("SSE4A MISALIGNED_SSE XSAVES SHA"))
PROCESSORS = {
    "K8": BASE | named("MMX_EXTENSIONS AMD_3DNOW EXTENDED_3DNOW FAST_FXSR"),
    "K10, SSE4A without SSSE3": BASE | named("SSE3 SSE4A MISALIGNED_SSE CMPXCHG16B PAGES_1G"),
    "Penryn, XSAVE without AVX": BASE
    | named("SSE3 SSSE3 SSE4_1 XSAVE XSAVE_HERE X87_STATE SSE_STATE OSXSAVE CMPXCHG16B"),
    "Westmere": WESTMERE,
    "Sandy Bridge, AVX without AVX2": WESTMERE
    | named("AVX AVX_STATE XSAVE XSAVE_HERE X87_STATE SSE_STATE XSAVEOPT"),
    "Bulldozer, XOP and FMA4 without FMA": WESTMERE - named("PCID")
    | needed(named("AVX XOP FMA4 LWP SSE4A MISALIGNED_SSE")),
    "Haswell": HASWELL,
    "Skylake": SKYLAKE | needed(named("MPX")),
    "Skylake server": SKYLAKE_SERVER,
    "Knights Mill, no AVX512VL": HASWELL
    | needed(named("AVX512PF AVX512ER AVX512CD AVX512_4VNNIW AVX512_4FMAPS AVX512_VPOPCNTDQ")),
    "Ice Lake": ICE_LAKE,
    "Sapphire Rapids": ICE_LAKE
    | needed(named("AMX_INT8 AMX_BF16 AVX512_FP16 AVX512_BF16 AVX_VNNI CET_SS CET_IBT ENQCMD"))
    | needed(named("ARCH_LBR LBR_STATE UINTR UINTR_STATE PASID_STATE")),
    "Zen 2": ZEN_2,
    "Zen 3, VAES without AVX-512, shadow stacks alone": ZEN_2
    | needed(named("PCID PKU VAES VPCLMULQDQ CET_SS")),
    "APX and AVX10": ICE_LAKE | needed(named("APX_F AVX10 FRED LASS LAM")),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_what_has_been_built_passes_unchanged(name: str) -> None:
    entries = offering(PROCESSORS[name])
    assert broken(leaves(entries)) == []
    assert leaves(consistent(entries)) == leaves(entries)
    assert kept(PROCESSORS[name]) == PROCESSORS[name]


def test_without_xsave_there_are_no_vectors_beyond_sse_and_no_leaf_of_their_state() -> None:
    """What TCG without XSAVE has its KVM list, and with which Linux 7.3 panics."""
    lost = HASWELL - {features.XSAVE}
    assert (
        HASWELL - kept(lost)
        == named(
            "XSAVE XSAVE_HERE OSXSAVE XSAVEOPT X87_STATE SSE_STATE AVX_STATE AVX AVX2 FMA F16C"
        )
        & HASWELL
    )
    assert 0xD not in [entry[0] for entry in consistent(offering(lost))]


def test_a_leaf_of_components_without_xsave_goes() -> None:
    """As the page-table flavour of KVM lists it, which emulates no XSAVE."""
    state = named("X87_STATE SSE_STATE AVX_STATE OPMASK_STATE ZMM_HI256_STATE HI16_ZMM_STATE")
    assert consistent(offering(WESTMERE | state)) == [
        entry for entry in offering(WESTMERE) if entry[0] != 0xD
    ]


def test_amx_whose_state_a_process_has_no_leave_for_is_not_offered() -> None:
    """KVM hides the components then (ARCH_REQ_XCOMP_GUEST_PERM), but not the features."""
    sapphire_rapids = PROCESSORS["Sapphire Rapids"]
    state = named("TILECFG_STATE TILEDATA_STATE")
    gone = sapphire_rapids - kept(sapphire_rapids - state)
    assert gone == state | named("AMX_TILE AMX_INT8 AMX_BF16 TILES_HERE TILE_MULTIPLY_HERE")


def test_the_areas_shrink_with_the_components() -> None:
    def area(numbers: frozenset[int]) -> tuple[int, int]:
        found = leaves(consistent(offering(numbers)))
        return found[0xD, 0][2], found[0xD, 1][1]

    assert area(SKYLAKE_SERVER) == (2696, 576 + 256 + 128 + 64 + 512 + 1024 + 8 + 128)
    assert area(SKYLAKE_SERVER - {features.PKU}) == (2688, 576 + 256 + 128 + 64 + 512 + 1024 + 128)
    assert area(SKYLAKE_SERVER - {features.AVX}) == (2696, 576 + 128 + 8 + 128)
    assert area(SKYLAKE_SERVER - {features.XSAVES, features.XSAVEC}) == (2696, 0)


def test_a_component_that_no_sub_leaf_describes_is_none() -> None:
    entries = [entry for entry in offering(HASWELL) if entry[:2] != (0xD, 2)]
    assert not kept_of(entries) & named("AVX AVX2 AVX_STATE")
    assert features.XSAVE in kept_of(entries)


def kept_of(entries: list[Entry]) -> frozenset[int]:
    found = leaves(consistent(entries))
    return frozenset(
        32 * place + bit
        for place, (leaf, index, register) in enumerate(features.WORDS)
        for bit in range(32)
        if found.get((leaf, index), (0, 0, 0, 0))[register - features.EAX] >> bit & 1
    )


def test_unknown_features_and_other_leaves_are_left_alone() -> None:
    entries: list[Entry] = [
        *((2, 0, 4, 0x00FE_FF01, 0xF0, 0, 0), (2, 0, 4, 1, 2, 3, 4)),
        *((7, 0, 1, 2, 1 << 13, 0, 1 << 10), (0x4000_0001, 0, 0, 5, 6, 7, 8)),
    ]
    assert consistent(entries) == entries
