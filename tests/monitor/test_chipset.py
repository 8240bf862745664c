"""A PC's chipset through the monitor's core: ports that move, no ECAM, PCI's interrupts by PIRQ."""

import pytest

from tests.monitor.rig import PoweredOff, Rig
from vestige import abi
from vestige.monitor.clock import SECOND
from vestige.monitor.devices.piix4_pm.spec import Config, Register

MASTER_VECTORS, SLAVE_VECTORS = 0x20, 0x28
MASTER_EOI, SLAVE_EOI = (0x20, 0x20), (0xA0, 0x20)
ISA, PM = 0, 3  # function numbers of device 1
PIRQ_ROUTE = 0x60
VIRTIO_PIRQ = (abi.VIRTIO_SLOT_PC - 1) % 4  # INTA of the first virtio function
LEVEL = 1 << 15  # of a redirection entry


def configuration(rig: Rig, number: int, register: int, value: int, size: int) -> None:
    """A configuration write to a function of device 1."""
    rig.out(abi.PORT_PCI_ADDRESS, 1 << 31 | 1 << 11 | number << 8 | register & 0xFC, 4)
    rig.out(abi.PORT_PCI_DATA + register % 4, value, size)


@pytest.fixture
def pc() -> Rig:
    """A PC with a virtio disk, whose PIC lets all through and has the firmware's ELCR."""
    rig = Rig(disks=[bytearray(1 << 20)], virtio=True)
    rig.shared.config.board = abi.Board.PC
    rig.start()
    for port, first, cascade in ((0x20, MASTER_VECTORS, 4), (0xA0, SLAVE_VECTORS, 2)):
        for offset, word in ((0, 0x11), (1, first), (1, cascade), (1, 1), (1, 0)):
            rig.out(port + offset, word)
    return rig


def taken(rig: Rig) -> int:
    """The vector of the external interrupt that the boot CPU takes at its next exit."""
    rig.cpus[0].exit.ready = 1
    rig.inp(0x21)
    vector = rig.cpus[0].argument[0] if rig.reply == abi.Call.INJECT else abi.NO_VECTOR
    rig.cpus[0].exit.ready = 0
    return int(vector)


def test_power_management_is_where_pmba_says(pc: Rig) -> None:
    first = pc.inp(0x608, 4)
    assert 0 < pc.inp(0x608, 4) - first < 1 << 23
    assert pc.inp(0x604, 2) == 1
    configuration(pc, PM, Config.BASE, 0xB000, 4)
    assert pc.inp(0x608, 4) == 0xFFFF_FFFF
    assert pc.inp(0x600, 4) == 0xFFFF_FFFF, "the modern machine's registers are not a PC's"
    assert pc.inp(0xB004, 2) == 1
    configuration(pc, PM, Config.MISCELLANEOUS, 0, 1)
    assert pc.inp(0xB004, 2) == 0xFFFF


def test_ports_that_it_moves_hide_others(pc: Rig) -> None:
    configuration(pc, PM, Config.BASE, 0x0040, 4)
    assert pc.inp(0x44, 2) == 1
    assert pc.inp(0x61) == 0, "a register of the block that is not there, and not the timer's"


def test_the_timer_s_overflow_interrupts_by_the_worker(pc: Rig) -> None:
    pc.out(0x600 + Register.ENABLE, 1, 2)
    assert taken(pc) == abi.NO_VECTOR
    pc.now += 5 * SECOND
    pc.work()
    assert taken(pc) == SLAVE_VECTORS + abi.PIN_SCI - 8
    pc.out(0x600 + Register.STATUS, 1, 2)
    for port, word in (SLAVE_EOI, MASTER_EOI):
        pc.out(port, word)
    assert taken(pc) == abi.NO_VECTOR


def test_there_is_no_ecam(pc: Rig) -> None:
    assert pc.read(abi.ECAM) == 0xFFFF_FFFF
    assert pc.read(abi.ECAM + 0x8000) == 0xFFFF_FFFF


def test_pci_interrupts_lead_where_the_piix3_says(pc: Rig) -> None:
    line = pc.machine.virtio.functions[0].device.line
    for irq in (10, 5):
        configuration(pc, ISA, PIRQ_ROUTE + VIRTIO_PIRQ, irq, 1)
        pc.out(0x4D0, 1 << 5)
        pc.out(0x4D1, 1 << 2)
        line.set(True)
        assert taken(pc) == (SLAVE_VECTORS + irq - 8 if irq > 7 else MASTER_VECTORS + irq)
        line.set(False)
        pc.inp(0x21)
        for port, word in (SLAVE_EOI, MASTER_EOI):
            pc.out(port, word)
        assert taken(pc) == abi.NO_VECTOR
    configuration(pc, ISA, PIRQ_ROUTE + VIRTIO_PIRQ, 0x80, 1)
    line.set(True)
    assert taken(pc) == abi.NO_VECTOR, "not routed"


def test_the_io_apic_has_them_at_the_same_numbers(pc: Rig) -> None:
    configuration(pc, ISA, PIRQ_ROUTE + VIRTIO_PIRQ, 11, 1)
    pc.enable_pin(11, 0x51, LEVEL)
    pc.enable_pin(16 + VIRTIO_PIRQ, 0x52, LEVEL)
    before = pc.shared.statistics.doorbells
    pc.machine.virtio.functions[0].device.line.set(True)
    pc.inp(0x21)
    assert pc.shared.statistics.doorbells == before + 1
    assert pc.shared.routes[11].data & 0xFF == 0x51
    assert pc.shared.routes[16 + VIRTIO_PIRQ].address == 0


def test_sleep_type_0_ends_the_machine(pc: Rig) -> None:
    pc.out(0x604, 1 << 10 | 1 << 13, 2)
    with pytest.raises(PoweredOff, match="OFF"):
        pc.out(0x604, 1 << 13, 2)
