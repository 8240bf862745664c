"""The same 500 random sequences of accesses to our fw_cfg and to QEMU's, with QEMU's items."""

import random
from collections.abc import Iterator

import pytest

from tests.qtest.client import RAM_SIZE, Qtest, qemu
from tests.qtest.fw_cfg_pair import (
    DATA,
    ENTRY_SIZE,
    Access,
    Ours,
    Step,
    compare,
    directory,
    item,
    items,
    operation,
    select,
    sequence,
    theirs,
)
from vestige.abi import IOAPIC, PORT_FW_CFG, FirmwareKey, FirmwareTable
from vestige.host.firmware.fw_cfg import ARCHITECTURE, SIGNATURE
from vestige.monitor.devices.fw_cfg.spec import Control

pytestmark = pytest.mark.qtest

SEQUENCES = 50
TEXT = "a string of the user's"
READ_ID = FirmwareKey.ID << 16 | Control.SELECT | Control.READ


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qtest]:
    """QEMU's pc has one at the same ports."""
    folder = tmp_path_factory.mktemp("qemu")
    (folder / "long").write_bytes(random.Random(1).randbytes(700))
    arguments = ["-fw_cfg", f"name=opt/x,string={TEXT}"]
    arguments += ["-fw_cfg", f"name=opt/long,file={folder / 'long'}"]
    with qemu(folder, arguments) as started:
        yield started


@pytest.fixture(scope="module")
def ours(machine: Qtest) -> Ours:
    """With QEMU's items."""
    return Ours(*items(machine))


@pytest.mark.parametrize("seed", range(10))
def test_both_answer_alike(machine: Qtest, ours: Ours, seed: int) -> None:
    chance = random.Random(seed)
    table = FirmwareTable.from_buffer(ours.items)
    keys = [table.items[number].key for number in range(table.count)]
    keys += [0x1F, FirmwareKey.FIRST_FILE + len(keys), 0x3FFF, ARCHITECTURE | 0x1F, 0xFFFF]
    for _ in range(SEQUENCES):
        difference = compare(machine, ours, sequence(chance, keys))
        assert difference is None, difference


def test_the_user_s_string_is_found_by_its_name(machine: Qtest, ours: Ours) -> None:
    key, size = directory(machine)["opt/x"]
    assert item(machine, key, size) == TEXT.encode()
    steps = [select(key), *[Access(DATA, 1, None)] * size]
    assert bytes(ours.answers(list(steps))[1:]) == TEXT.encode()


def test_signature_features_and_directory_are_made_as_qemu_makes_them(
    machine: Qtest, ours: Ours
) -> None:
    size = 4 + ENTRY_SIZE * len(directory(machine))
    for key, length in ((0, 4), (1, 4), (FirmwareKey.FILE_DIRECTORY, size)):
        steps = [select(key), *[Access(DATA, 1, None)] * length]
        assert bytes(ours.answers(list(steps))[1:]) == item(machine, key, length)


def test_the_rows_of_the_page_are_real_differences(machine: Qtest, ours: Ours) -> None:
    selector = [select(FirmwareKey.SIGNATURE), Access(PORT_FW_CFG, 1, None)]
    assert theirs(machine, list(selector))[1] == SIGNATURE[0]
    assert ours.answers(list(selector))[1] == 0
    inside = [select(FirmwareKey.SIGNATURE), Access(PORT_FW_CFG - 1, 4, FirmwareKey.ID << 8)]
    inside.append(Access(DATA, 1, None))
    assert theirs(machine, list(inside))[2] == 3
    assert ours.answers(list(inside))[2] == SIGNATURE[0]
    both = (machine.ram, ours.ram)
    partly = operation(0, READ_ID, 4, RAM_SIZE - 1)
    machine.ram[RAM_SIZE - 1] = ours.ram[RAM_SIZE - 1] = 0
    do(machine, ours, partly)
    assert [ram[3] for ram in both] == [Control.ERROR] * 2
    assert [ram[RAM_SIZE - 1] for ram in both] == [3, 0]
    do(machine, ours, operation(0, READ_ID, 4, IOAPIC))
    assert [ram[3] for ram in both] == [0, Control.ERROR]


def do(machine: Qtest, ours: Ours, steps: list[Step]) -> None:
    """Have both do it."""
    theirs(machine, steps)
    ours.answers(steps)
