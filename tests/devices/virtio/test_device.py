"""Negotiation, queue set-up, reset, interrupts: the common configuration structure."""

import pytest

from tests.devices.virtio.bench import (
    ACKNOWLEDGE,
    DRIVER,
    DRIVER_OK,
    EVENT_IDX,
    FEATURES_OK,
    INDIRECT,
    NEEDS_RESET,
    PACKED,
    RING_RESET,
    VERSION_1,
    Bench,
)
from tests.devices.virtio.reference import DATA, RAM_SIZE, Buffer, SplitDriver
from vestige.monitor.devices.virtio.device import VirtioDevice

READ = [Buffer(DATA, 16, writable=False), Buffer(DATA + 512, 513, writable=True)]


@pytest.fixture
def bench() -> Bench:
    """A disk with two queues, memory and bus mastering on."""
    return Bench()


def test_what_is_offered(bench: Bench) -> None:
    common = 1 << 28 | 1 << 29 | 1 << 32 | 1 << 33 | 1 << 34 | 1 << 36 | 1 << 40
    block = 1 << 1 | 1 << 2 | 1 << 6 | 1 << 9 | 1 << 12 | 1 << 14
    assert bench.offered() == common | block
    bench.write(0, 4, 2)
    assert bench.read(4, 4) == 0


def test_a_driver_negotiates_step_by_step(bench: Bench) -> None:
    assert bench.status() == 0
    assert bench.negotiate(VERSION_1 | INDIRECT)
    assert bench.status() == ACKNOWLEDGE | DRIVER | FEATURES_OK
    bench.write(8, 4, 0)
    bench.write(12, 4, 0)
    assert bench.read(12, 4) == INDIRECT, "features are frozen"
    bench.go()
    assert bench.status() == ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
    bench.write(0x14, 1, 0)
    assert bench.status() == 0
    assert bench.read(12, 4) == 0


@pytest.mark.parametrize("features", [0, INDIRECT, VERSION_1 | 1 << 35, VERSION_1 | 1 << 5])
def test_a_subset_that_is_none_or_without_version_1_is_refused(bench: Bench, features: int) -> None:
    assert not bench.negotiate(features)
    bench.go()
    assert not bench.status() & DRIVER_OK
    bench.service()
    assert not bench.status() & NEEDS_RESET


def test_a_driver_that_never_acknowledges_features_gets_nothing(bench: Bench) -> None:
    driver = SplitDriver(bench.ram, 16, event_index=False)
    bench.write(0x14, 1, ACKNOWLEDGE | DRIVER)
    bench.enable(0, driver)
    assert bench.read(0x1C, 2) == 0
    bench.write(0x14, 1, ACKNOWLEDGE | DRIVER | DRIVER_OK)
    driver.add(READ)
    bench.write(0x3000, 2, 0)
    bench.service()
    assert bench.asked() == []
    assert bench.status() == ACKNOWLEDGE | DRIVER


def test_a_queue_nobody_set_up_can_be_rung_without_harm(bench: Bench) -> None:
    bench.start()
    for queue in (0, 1, 2, 16, 999):
        bench.write(0x3000 + 4 * queue, 2, queue)
        bench.service()
    assert bench.asked() == []
    assert bench.function.notifications == 5
    assert bench.status() & NEEDS_RESET == 0


def test_queues_are_described_one_at_a_time(bench: Bench) -> None:
    assert bench.read(0x12, 2) == 2
    for queue in (0, 1):
        bench.write(0x16, 2, queue)
        assert bench.read(0x18, 2) == 256
        assert bench.read(0x1A, 2) == 0xFFFF
        assert bench.read(0x1E, 2) == queue
    bench.write(0x16, 2, 2)
    assert bench.read(0x18, 2) == 0
    assert [bench.read(offset, 4) for offset in (0x1C, 0x20, 0x24, 0x38)] == [0] * 4


def test_addresses_hold_while_enabled(bench: Bench) -> None:
    drivers = bench.start()
    bench.write(0x16, 2, 0)
    bench.write(0x20, 4, 0xFFFF_F000)
    bench.write(0x18, 2, 8)
    assert bench.read(0x20, 4) == drivers[0].descriptors
    assert bench.read(0x18, 2) == 16


def test_accesses_of_another_width_do_nothing(bench: Bench) -> None:
    bench.negotiate(VERSION_1)
    bench.write(0x16, 4, 1)
    bench.write(0x17, 1, 1)
    bench.write(0x18, 1, 8)
    bench.write(0x20, 2, 0x1000)
    assert bench.read(0x16, 2) == 0
    assert bench.read(0x18, 2) == 256
    assert bench.read(0x20, 4) == 0
    assert bench.read(0x15, 1) == bench.read(0x14, 2) >> 8


@pytest.mark.parametrize("area", [0x20, 0x28, 0x30])
def test_areas_outside_ram_need_a_reset(bench: Bench, area: int) -> None:
    bench.negotiate(VERSION_1)
    driver = SplitDriver(bench.ram, 16, event_index=False)
    bench.write(0x16, 2, 0)
    bench.write(0x18, 2, 16)
    for offset, place in ((0x20, driver.descriptors), (0x28, driver.driver), (0x30, driver.device)):
        bench.write(offset, 4, RAM_SIZE if offset == area else place)
    bench.write(0x1C, 2, 1)
    assert bench.status() & NEEDS_RESET
    assert bench.read(0x1C, 2) == 0
    assert bench.negotiate(VERSION_1)
    assert not bench.status() & NEEDS_RESET


def test_a_malformed_buffer_breaks_this_device_and_says_so(bench: Bench) -> None:
    first, second = bench.start()
    first.add([Buffer(RAM_SIZE, 512, writable=True)])
    bench.service()
    assert bench.status() & NEEDS_RESET
    assert bench.device.failures == 1
    assert bench.device.line.level == 1
    assert bench.read(0x1000, 1) == 2
    assert bench.device.line.level == 0
    second.add(READ)
    bench.service()
    assert bench.asked() == []
    bench.start()
    assert not bench.status() & NEEDS_RESET


def test_a_reset_waits_for_what_is_under_way(bench: Bench) -> None:
    driver, _ = bench.start()
    driver.add(READ)
    bench.service()
    ((number, _),) = bench.asked()
    bench.write(0x14, 1, 0)
    assert bench.status() != 0
    bench.write(0x14, 1, ACKNOWLEDGE)
    before = bytes(bench.ram.bytes)
    bench.answer(number)
    assert bytes(bench.ram.bytes) == before, "the driver's memory is its own again"
    assert bench.status() == 0
    assert bench.device.line.level == 0
    assert bench.device.resets == 2  # the other was before the negotiation
    assert bench.call(VirtioDevice.take_reset, bench.device)
    assert not bench.call(VirtioDevice.take_reset, bench.device)


def test_a_queue_can_be_reset_alone(bench: Bench) -> None:
    first, second = bench.start()
    first.add(READ)
    second.add(READ)
    bench.service()
    numbers = [number for number, _ in bench.asked()]
    bench.write(0x16, 2, 0)
    bench.write(0x3A, 2, 1)
    assert (bench.read(0x3A, 2), bench.read(0x1C, 2)) == (1, 1)
    bench.answer(numbers[0])
    assert (bench.read(0x3A, 2), bench.read(0x1C, 2)) == (0, 0)
    assert first.collect() == []
    bench.answer(numbers[1])
    assert [written for _, written in second.collect()] == [513]
    again = SplitDriver(bench.ram, 8, event_index=False)
    bench.ram.put(again.driver, bytes(0x100))
    bench.ram.put(again.device, bytes(0x100))
    bench.enable(0, again)
    again.add(READ)
    bench.service()
    assert len(bench.asked()) == 1


def test_without_the_feature_a_queue_is_not_reset_alone(bench: Bench) -> None:
    bench.negotiate(VERSION_1)
    bench.enable(0, SplitDriver(bench.ram, 16, event_index=False))
    bench.write(0x3A, 2, 1)
    assert bench.read(0x1C, 2) == 1
    assert RING_RESET & bench.offered()


def test_nothing_is_taken_while_bus_mastering_is_off(bench: Bench) -> None:
    driver, _ = bench.start()
    bench.write_config(4, 2, 2)
    driver.add(READ)
    bench.service()
    assert bench.asked() == []
    bench.write_config(4, 2, 6)
    bench.service()
    assert len(bench.asked()) == 1


def test_a_changed_configuration_has_another_generation(bench: Bench) -> None:
    bench.start()
    before = bench.read(0x15, 1)
    bench.call(VirtioDevice.config_changed, bench.device)
    assert bench.read(0x15, 1) == before + 1
    assert bench.read(0x1000, 4) == 2


# ---- interrupts ------------------------------------------------------------------------------


def set_vector(bench: Bench, vector: int, address: int, data: int, *, masked: bool) -> None:
    """Write an entry of the MSI-X table."""
    for index, value in enumerate((address & 0xFFFF_FFFF, address >> 32, data, int(masked))):
        bench.write(0x4000 + 16 * vector + 4 * index, 4, value)


def complete_one(bench: Bench, driver: SplitDriver) -> None:
    """One request, answered."""
    driver.add(READ)
    bench.service()
    ((number, _),) = bench.asked()
    bench.answer(number)


def test_interrupts_by_the_line(bench: Bench) -> None:
    driver, _ = bench.start()
    assert isinstance(driver, SplitDriver)
    complete_one(bench, driver)
    assert bench.device.line.take_edge()
    bench.write_config(4, 2, 0x406)
    assert bench.device.line.level == 0
    bench.write_config(4, 2, 6)
    assert bench.device.line.level == 1
    assert bench.read(0x1000, 1) == 1
    assert bench.read(0x1000, 1) == 0
    assert bench.device.line.level == 0


def test_each_queue_has_its_vector(bench: Bench) -> None:
    bench.write_config(0x42, 2, 1 << 15)
    set_vector(bench, 1, 0xFEE0_1000, 0x51, masked=False)
    driver, _ = bench.start()
    bench.write(0x16, 2, 0)
    bench.write(0x1A, 2, 1)
    assert bench.read(0x1A, 2) == 1
    assert isinstance(driver, SplitDriver)
    complete_one(bench, driver)
    assert bench.interrupts() == 1 << 1
    assert bench.device.line.level == 0
    assert bench.device.msix.message_address(1) == 0xFEE0_1000
    assert bench.device.msix.message_data(1) == 0x51


def test_a_vector_that_is_none_is_not_taken(bench: Bench) -> None:
    bench.negotiate(VERSION_1)
    for register in (0x10, 0x1A):
        bench.write(register, 2, 2)
        assert bench.read(register, 2) == 2
        bench.write(register, 2, 3)
        assert bench.read(register, 2) == 0xFFFF


def test_what_is_masked_waits(bench: Bench) -> None:
    bench.write_config(0x42, 2, 1 << 15)
    driver, _ = bench.start()
    assert isinstance(driver, SplitDriver)
    complete_one(bench, driver)
    assert bench.interrupts() == 0
    assert bench.read(0x5000, 4) == 1
    bench.write_config(0x42, 2, 3 << 14)
    set_vector(bench, 0, 0xFEE0_0000, 0x41, masked=False)
    assert bench.interrupts() == 0
    bench.write_config(0x42, 2, 1 << 15)
    assert bench.interrupts() == 1
    assert bench.read(0x5000, 4) == 0


def test_what_waits_behind_a_mask_is_gone_after_a_reset(bench: Bench) -> None:
    bench.write_config(0x42, 2, 1 << 15)
    driver, _ = bench.start()
    assert isinstance(driver, SplitDriver)
    complete_one(bench, driver)
    bench.write(0x14, 1, 0)
    set_vector(bench, 0, 0xFEE0_0000, 0x41, masked=False)
    assert bench.interrupts() == 0


def test_event_index_is_negotiated(bench: Bench) -> None:
    driver, _ = bench.start(features=EVENT_IDX)
    bench.service()
    driver.unwant_interrupt()
    assert isinstance(driver, SplitDriver)
    complete_one(bench, driver)
    assert bench.device.line.level == 0
    driver.want_interrupt()
    driver.collect()
    assert PACKED & bench.offered()
