"""CPUID as each CPU of the machine sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machine.processor_rules import broken
from vestige.machine.cpu_features import Entry
from vestige.machine.cpuid import of_cpu, of_machine, tsc_frequency

INTEL = (0x756E_6547, 0x6C65_746E, 0x4965_6E69)  # EBX, ECX, EDX of leaf 0: "GenuineIntel"
AMD = (0x6874_7541, 0x444D_4163, 0x6974_6E65)
HYGON = (0x6F67_7948, 0x656E_6975, 0x6E65_476E)
ALL = 0xFFFF_FFFF


def supported(
    vendor: tuple[int, int, int], *, last: int = 0xD, topology_v2: bool = False
) -> list[Entry]:
    """A hypervisor's list with the bits that need work all set."""
    entries = [
        (0, 0, 0, last, *vendor),
        (1, 0, 0, 0x000A_06E9, 0x1F20_0800, ALL & ~(1 << 31), ALL & ~(1 << 28)),
        (4, 0, 1, 0xFC00_4121 | 3 << 14, 0x1C0_003F, 0x3F, 0),  # L1 data, two threads
        (4, 3, 1, 0xFC00_4163 | 63 << 14, 0x1C0_003F, 0x3F, 0),  # L3, 64 threads
        (4, 4, 1, 0, 0, 0, 0),
        (7, 0, 1, 0, 0x388, 4, 0x2000_0000),
        (0xB, 0, 1, 1, 2, 0x100, 31),
        (0x4000_0000, 0, 0, 0x4000_0001, 0x4B4D_564B, 0x564B_4D56, 0x4D),
        (0x4000_0001, 0, 0, 0x0100_7EFB, 0, 0, 0),
        (0x8000_0001, 0, 0, 0, 0, 0x0040_0006, 0x2C10_0800),
        (0x8000_0008, 0, 0, 0x3028, 0, 0x0301_F01F, 0),
        (0x8000_000A, 0, 0, 1, 8, 0, 0x119B),
        (0x8000_001D, 0, 1, 0x4121 | 1 << 14, 0x1C0_003F, 0x3F, 0),
        (0x8000_001D, 3, 1, 0x4163 | 15 << 14, 0x3C0_003F, 0x3FFF, 1),
        (0x8000_001E, 0, 0, 31, 0x0103, 0x0102, 0),
        (0x8000_001F, 0, 0, 0xF, 0x173, 15, 1),
    ]
    if topology_v2:
        entries.append((0x1F, 0, 1, 1, 2, 0x100, 31))
    return entries


def leaves(
    vendor: tuple[int, int, int] = INTEL,
    *,
    cpu: int = 0,
    cpus: int = 1,
    tsc_khz: int = 2_794_750,
    tsc_deadline: bool = True,
    last: int = 0xD,
    topology_v2: bool = False,
) -> dict[tuple[int, int], tuple[int, int, int, int]]:
    """(EAX, EBX, ECX, EDX) by (leaf, index)."""
    machine = of_machine(
        supported(vendor, last=last, topology_v2=topology_v2),
        cores=cpus,
        tsc_khz=tsc_khz,
        tsc_deadline=tsc_deadline,
    )
    entries = of_cpu(machine, cpu, cpus)
    result = {(entry[0], entry[1]): entry[3:] for entry in entries}
    assert len(result) == len(entries)  # no leaf twice
    return result


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 9, 32])
def test_every_leaf_that_tells_the_apic_id_tells_the_same(cpus: int) -> None:
    for cpu in range(cpus):
        found = leaves(AMD, cpu=cpu, cpus=cpus, topology_v2=True, last=0x1F)
        assert found[1, 0][1] >> 24 == cpu
        assert {found[leaf, index][3] for leaf in (0xB, 0x1F) for index in range(3)} == {cpu}
        assert found[0x8000_001E, 0][0] == cpu


@pytest.mark.parametrize(
    ("cpus", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (32, 5)]
)
def test_cores_of_one_thread_make_one_package(cpus: int, bits: int) -> None:
    found = leaves(cpus=cpus)
    assert found[0xB, 0] == (0, 1, 0x100, 0)  # thread level
    assert found[0xB, 1] == (bits, cpus, 0x201, 0)  # core level
    assert found[0xB, 2] == (0, 0, 2, 0)  # no more
    assert found[1, 0][1] >> 16 & 0xFF == cpus
    assert found[1, 0][3] >> 28 & 1 == (cpus > 1)
    assert found[4, 0][0] >> 26 == (1 << bits) - 1


def test_topology_entries_hold_for_their_index_only() -> None:
    entries = of_machine(supported(INTEL), cores=2, tsc_khz=0, tsc_deadline=False)
    assert {entry[2] for entry in entries if entry[0] == 0xB} == {1}


def test_leaf_1f_exists_only_where_the_hypervisor_has_it() -> None:
    assert (0x1F, 0) not in leaves()
    assert leaves(topology_v2=True, last=0x1F)[0x1F, 1] == leaves()[0xB, 1]


@pytest.mark.parametrize("leaf", [4, 0x8000_001D])
def test_first_caches_are_private_and_the_last_is_shared_by_all(leaf: int) -> None:
    found = leaves(AMD, cpus=4)
    assert found[leaf, 0][0] >> 14 & 0xFFF == 0
    assert found[leaf, 3][0] >> 14 & 0xFFF == 3
    assert found[leaf, 0][0] & 0x3FFF == 0x121


def test_the_end_of_the_cache_list_stays_empty() -> None:
    assert leaves(cpus=8)[4, 4] == (0, 0, 0, 0)


def test_amd_s_own_count_of_cores() -> None:
    assert leaves(AMD, cpus=6)[0x8000_0008, 0][2] == 0x0301_3005
    assert leaves(HYGON, cpus=6)[0x8000_0008, 0][2] == 0x0301_3005
    assert leaves(INTEL, cpus=6)[0x8000_0008, 0][2] == 0x0301_F01F  # reserved there


@pytest.mark.parametrize(
    ("vendor", "cpus", "expected"), [(AMD, 1, 0), (AMD, 2, 1), (INTEL, 1, 0), (INTEL, 2, 0)]
)
def test_cmp_legacy_is_amd_s_word_for_several_cores(
    vendor: tuple[int, int, int], cpus: int, expected: int
) -> None:
    assert leaves(vendor, cpus=cpus)[0x8000_0001, 0][2] >> 1 & 1 == expected


def test_amd_s_cores_have_one_thread_and_one_node() -> None:
    assert leaves(AMD, cpu=5, cpus=8)[0x8000_001E, 0] == (5, 5, 0, 0)


def test_processors_of_a_pc_are_packages_of_their_own() -> None:
    """A BIOS's MP table, and systems that count packages, have only the first of each."""
    machine = of_machine(supported(AMD, last=0xD), cores=1, tsc_khz=0, tsc_deadline=True)
    found = {(entry[0], entry[1]): entry[3:] for entry in of_cpu(machine, 3, 1)}
    assert not found[1, 0][3] >> 28 & 1, "HTT"
    assert found[1, 0][1] >> 16 == 3 << 8 | 1, "APIC ID, and logical processors"
    assert found[0xB, 1][:2] == (0, 1)
    assert found[0xB, 1][3] == 3
    assert found[0x8000_001E, 0] == (3, 0, 0, 0)


def test_there_is_no_nested_virtualisation() -> None:
    found = leaves(AMD)
    assert found[1, 0][2] >> 5 & 1 == 0  # VMX
    assert found[0x8000_0001, 0][2] >> 2 & 1 == 0  # SVM
    assert (0x8000_000A, 0) not in found
    assert (0x8000_001F, 0) not in found


@pytest.mark.parametrize("deadline", [True, False])
def test_the_tsc_deadline_timer_is_there_if_the_caller_says_so(deadline: bool) -> None:
    assert leaves(tsc_deadline=deadline)[1, 0][2] >> 24 & 1 == deadline


def test_the_guest_is_told_of_the_hypervisor_and_x2apic() -> None:
    ecx = leaves()[1, 0][2]
    assert ecx >> 31 & 1
    assert ecx >> 21 & 1


def test_the_tsc_frequency_is_published_twice() -> None:
    found = leaves(tsc_khz=2_794_750)
    assert found[0, 0][0] == 0x15
    assert (0x15, 0) in found
    assert found[0x4000_0000, 0][0] == 0x4000_0010
    assert found[0x4000_0010, 0] == (2_794_750, 1_000_000, 0, 0)


def test_an_unknown_tsc_frequency_is_not_published() -> None:
    found = leaves(tsc_khz=0, last=0xA)
    assert found[0, 0][0] == 0xB  # for the topology
    assert found[0x4000_0000, 0][0] == 0x4000_0001
    assert (0x15, 0) not in found
    assert (0x4000_0010, 0) not in found


def test_a_higher_last_leaf_stays() -> None:
    assert leaves(last=0x20)[0, 0][0] == 0x20


def test_a_hypervisor_without_leaves_gets_no_timing_leaf() -> None:
    entries = [entry for entry in supported(INTEL) if entry[0] >> 28 != 4]
    found = of_machine(entries, cores=1, tsc_khz=2_000_000, tsc_deadline=True)
    assert 0x4000_0010 not in [entry[0] for entry in found]


def test_leaves_of_no_concern_are_untouched() -> None:
    assert leaves()[7, 0] == (0, 0x388, 4, 0x2000_0000)
    assert leaves()[0x4000_0001, 0] == (0x0100_7EFB, 0, 0, 0)


@given(st.integers(0, ALL), st.integers(0, ALL), st.booleans())
def test_whatever_is_supported_the_cpu_is_one_that_could_be(ecx: int, edx: int, late: bool) -> None:
    """What the machine itself adds (x2APIC, the deadline timer) included."""
    listed = [(1, 0, 0, 0, 0, ecx, edx) if each[0] == 1 else each for each in supported(AMD)]
    machine = of_machine(listed, cores=2, tsc_khz=0, tsc_deadline=late)
    assert broken({(entry[0], entry[1]): entry[3:] for entry in of_cpu(machine, 1, 2)}) == []


@given(st.integers(1, 8), st.data())
def test_every_register_has_32_bits(cpus: int, data: st.DataObject) -> None:
    cpu = data.draw(st.integers(0, cpus - 1))
    register = st.integers(0, ALL)
    entry = st.tuples(
        st.sampled_from([0, 1, 4, 0x4000_0000, 0x8000_0001, 0x8000_0008, 0x8000_001D]),
        st.just(0),
        st.just(0),
        *[register] * 4,
    )
    entries = data.draw(st.lists(entry, unique_by=lambda one: one[0]))
    machine = of_machine(entries, cores=cpus, tsc_khz=3_000_000, tsc_deadline=True)
    for result in of_cpu(machine, cpu, cpus):
        assert all(0 <= value <= ALL for value in result)


@given(st.integers(500_000, 6_000_000))
def test_leaf_15_gives_the_tsc_to_1_ppm_as_linux_computes_it(tsc_khz: int) -> None:
    _, _, _, denominator, numerator, crystal, _ = tsc_frequency(tsc_khz)
    product = crystal // 1000 * numerator
    assert product <= ALL  # native_calibrate_tsc multiplies in 32 bits
    assert abs(product // denominator - tsc_khz) <= max(tsc_khz / 1e6, 1)


@given(st.integers(500_000, 6_000_000))
def test_leaf_15_s_crystal_is_close_to_the_local_apic_timer_s_1_ghz(tsc_khz: int) -> None:
    crystal = tsc_frequency(tsc_khz)[5]
    assert abs(crystal - 10**9) <= 2 * 10**6
    assert crystal <= ALL
