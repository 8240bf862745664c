"""The virtual machine generation ID: one for each start, and an edge where a thaw gives another."""

from vestige.abi import GENERATION_SIZE, Config
from vestige.monitor.devices.vmgenid.model import VmGeneration

FIRST, SECOND = bytes(range(1, 17)), bytes(range(101, 117))


def config(identifier: bytes) -> Config:
    made = Config()
    for number, byte in enumerate(identifier):
        made.generation[number] = byte
    return made


def read(model: VmGeneration) -> bytes:
    return b"".join(
        model.read(offset, 8, 0).to_bytes(8, "little") for offset in range(0, GENERATION_SIZE, 8)
    )


def test_a_machine_has_the_one_that_the_host_has_drawn() -> None:
    model = VmGeneration()
    model.reset()
    model.configure(config(FIRST))
    assert read(model) == FIRST
    assert [model.read(offset, 1, 0) for offset in range(16)] == list(FIRST)
    assert model.read(12, 8, 0) == int.from_bytes(FIRST[12:], "little")
    assert not model.line.take_edge()


def test_a_thaw_gives_it_another_and_one_edge() -> None:
    model = VmGeneration()
    model.configure(config(FIRST))
    model.go_on(config(SECOND))
    assert read(model) == SECOND
    assert model.line.take_edge()
    assert not model.line.take_edge()
    assert not model.line.level


def test_a_write_changes_nothing() -> None:
    model = VmGeneration()
    model.configure(config(FIRST))
    model.write(0, 8, (1 << 64) - 1, 0)
    assert read(model) == FIRST
