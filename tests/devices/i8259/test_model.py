"""The 8259A pair: Intel 8259A data sheet (231468-003), PIIX3 data sheet (290550)."""

from random import Random

import pytest

from vestige.monitor.devices.i8259.model import NOBODY, Pic
from vestige.monitor.devices.i8259.spec import Icw1, Icw4, Ocw2, Ocw3, Register

MASTER, MASTER_DATA = Register.MASTER_COMMAND, Register.MASTER_DATA
SLAVE, SLAVE_DATA = Register.SLAVE_COMMAND, Register.SLAVE_DATA
MASTER_BASE, SLAVE_BASE = 0x20, 0x28
EOI = Ocw2.NON_SPECIFIC_EOI << 5
SPECIFIC_EOI = Ocw2.SPECIFIC_EOI << 5
SET_PRIORITY = Ocw2.SET_PRIORITY << 5
POLL = Ocw3.OCW3 | Ocw3.P
READ_IRR = Ocw3.OCW3 | Ocw3.RR
READ_ISR = READ_IRR | Ocw3.RIS
SPECIAL_MASK = Ocw3.OCW3 | Ocw3.ESMM | Ocw3.SMM
NO_SPECIAL_MASK = Ocw3.OCW3 | Ocw3.ESMM


@pytest.fixture
def pic() -> Pic:
    """As guests have it: vectors 0x20 to 0x2F, nothing masked."""
    model = Pic()
    model.reset()
    initialize(model)
    return model


def write(pic: Pic, offset: int, *values: int) -> None:
    for value in values:
        pic.write(offset, 1, value, 0)


def read(pic: Pic, offset: int) -> int:
    return pic.read(offset, 1, 0)


def initialize(pic: Pic, master_icw4: int = 1, slave_icw4: int = 1, icw1: int = 0x11) -> None:
    write(pic, MASTER, icw1)
    write(pic, MASTER_DATA, MASTER_BASE, 1 << 2, master_icw4)
    write(pic, SLAVE, icw1)
    write(pic, SLAVE_DATA, SLAVE_BASE, 2, slave_icw4)


def pulse(pic: Pic, *numbers: int) -> None:
    """Lines that rise, and have fallen before the core looks."""
    pic.take_lines(0, sum(1 << number for number in numbers))


def assert_lines(pic: Pic, *numbers: int) -> None:
    """These lines are high, the others low."""
    asserted = sum(1 << number for number in numbers)
    pic.take_lines(asserted, asserted & ~pic.lines)


def irr(pic: Pic, chip: int) -> int:
    write(pic, chip, READ_IRR)
    return read(pic, chip)


def isr(pic: Pic, chip: int) -> int:
    write(pic, chip, READ_ISR)
    return read(pic, chip)


def acknowledged(pic: Pic) -> list[int]:
    """The IRQs that the CPU takes until no more interrupts."""
    taken = []
    while pic.intr():
        taken.append(pic.acknowledge() - MASTER_BASE)
    return taken


def end(pic: Pic, number: int) -> None:
    """As Linux ends an interrupt."""
    if number >= 8:
        write(pic, SLAVE, SPECIFIC_EOI | number & 7)
        number = 2
    write(pic, MASTER, SPECIFIC_EOI | number)


# ---- initialisation ----------------------------------------------------------------------------


def test_nobody_asks_after_power_on() -> None:
    pic = Pic()
    pic.reset()
    assert not pic.intr()
    assert [read(pic, offset) for offset in range(6)] == [0] * 6


def test_vectors_are_those_of_icw2(pic: Pic) -> None:
    write(pic, MASTER, 0x11)
    write(pic, MASTER_DATA, 0x0F, 4, 1)  # its low bits are the input's
    write(pic, SLAVE, 0x11)
    write(pic, SLAVE_DATA, 0x70, 2, 1)
    pulse(pic, 1)
    assert pic.acknowledge() == 0x09
    end(pic, 1)
    pulse(pic, 12)
    assert pic.acknowledge() == 0x74


def test_initialisation_forgets_edges_masks_and_service(pic: Pic) -> None:
    write(pic, MASTER_DATA, 0xF0)
    pulse(pic, 1, 5)
    pic.acknowledge()
    write(pic, MASTER, SET_PRIORITY | 3)
    initialize(pic)
    assert read(pic, MASTER_DATA) == 0
    assert isr(pic, MASTER) == 0
    pulse(pic, 3, 4)
    assert acknowledged(pic) == [3]


def test_initialisation_forgets_a_poll_and_chooses_the_irr(pic: Pic) -> None:
    write(pic, MASTER, READ_ISR, POLL)
    initialize(pic)
    pulse(pic, 1)
    assert read(pic, MASTER_DATA) == 0
    assert read(pic, MASTER) == 1 << 1


def test_initialisation_ends_the_special_modes(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.SFNM)
    write(pic, MASTER, SPECIAL_MASK)
    write(pic, MASTER, 0x10)
    write(pic, MASTER_DATA, MASTER_BASE, 4)
    pulse(pic, 12)
    assert acknowledged(pic) == [12]
    pulse(pic, 9)
    assert not pic.intr()
    write(pic, MASTER_DATA, 1 << 2)
    pulse(pic, 3)
    assert not pic.intr()


def test_initialisation_ends_rotation(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.AEOI)
    write(pic, MASTER, Ocw2.ROTATE_IN_AEOI_SET << 5)
    initialize(pic, master_icw4=1 | Icw4.AEOI)
    pulse(pic, 4)
    assert acknowledged(pic) == [4]
    pulse(pic, 4, 5)
    assert acknowledged(pic) == [4, 5]


def test_words_follow_icw1_only_as_it_says(pic: Pic) -> None:
    for icw1, words in ((0x10, 2), (0x11, 3), (0x12, 1), (0x13, 2)):
        write(pic, MASTER, icw1)
        write(pic, MASTER_DATA, *[0] * words, 0xA5)
        assert read(pic, MASTER_DATA) == 0xA5


def test_initialisation_may_begin_anew_at_any_word(pic: Pic) -> None:
    for words in range(3):
        write(pic, MASTER, 0x11)
        write(pic, MASTER_DATA, *[0xFF] * words)
    initialize(pic)
    write(pic, MASTER_DATA, 0xFB)
    assert read(pic, MASTER_DATA) == 0xFB
    assert read(pic, SLAVE_DATA) == 0


def test_without_icw4_there_is_no_automatic_end(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.AEOI)
    write(pic, MASTER, 0x10)
    write(pic, MASTER_DATA, MASTER_BASE, 4)
    pulse(pic, 4)
    assert acknowledged(pic) == [4]
    assert isr(pic, MASTER) == 1 << 4


def test_an_edge_input_that_is_high_must_rise_again_after_initialisation(pic: Pic) -> None:
    assert_lines(pic, 6)
    initialize(pic)
    assert not pic.intr()
    assert_lines(pic)
    assert_lines(pic, 6)
    assert acknowledged(pic) == [6]


def test_a_slave_that_asks_is_heard_by_a_master_initialised_anew(pic: Pic) -> None:
    pulse(pic, 14)
    write(pic, MASTER, 0x11)
    write(pic, MASTER_DATA, MASTER_BASE, 4, 1)
    assert acknowledged(pic) == [14]


# ---- edges and levels --------------------------------------------------------------------------


def test_an_edge_is_one_interrupt_however_long_the_line_is_high(pic: Pic) -> None:
    assert_lines(pic, 4)
    assert acknowledged(pic) == [4]
    end(pic, 4)
    assert_lines(pic, 4, 3)
    assert acknowledged(pic) == [3]
    end(pic, 3)
    assert not pic.intr()


def test_an_edge_is_kept_though_the_line_falls(pic: Pic) -> None:
    pulse(pic, 0)
    assert irr(pic, MASTER) == 1
    assert acknowledged(pic) == [0]
    assert irr(pic, MASTER) == 0


def test_an_edge_in_service_is_the_next_interrupt(pic: Pic) -> None:
    pulse(pic, 0)
    assert acknowledged(pic) == [0]
    pulse(pic, 0)
    assert not pic.intr()
    end(pic, 0)
    assert acknowledged(pic) == [0]


def test_an_edge_at_a_masked_input_waits(pic: Pic) -> None:
    write(pic, MASTER_DATA, 1 << 4)
    pulse(pic, 4)
    assert not pic.intr()
    write(pic, MASTER_DATA, 0)
    assert acknowledged(pic) == [4]


def test_a_level_interrupts_until_the_line_falls(pic: Pic) -> None:
    write(pic, Register.SLAVE_ELCR, 1 << 3)
    assert_lines(pic, 11)
    for _ in range(2):
        assert acknowledged(pic) == [11]
        assert irr(pic, SLAVE) == 1 << 3
        end(pic, 11)
    assert_lines(pic)
    assert irr(pic, SLAVE) == 0


def test_a_level_that_falls_while_in_service_is_over(pic: Pic) -> None:
    write(pic, Register.MASTER_ELCR, 1 << 5)
    assert_lines(pic, 5)
    assert acknowledged(pic) == [5]
    assert_lines(pic)
    end(pic, 5)
    assert not pic.intr()


def test_irq_0_1_2_8_and_13_can_not_be_level_triggered(pic: Pic) -> None:
    write(pic, Register.MASTER_ELCR, 0xFF)
    write(pic, Register.SLAVE_ELCR, 0xFF)
    assert read(pic, Register.MASTER_ELCR) == 0xF8
    assert read(pic, Register.SLAVE_ELCR) == 0xDE


def test_initialisation_leaves_what_elcr_says(pic: Pic) -> None:
    write(pic, Register.MASTER_ELCR, 1 << 3)
    assert_lines(pic, 3)
    initialize(pic)
    assert read(pic, Register.MASTER_ELCR) == 1 << 3
    assert acknowledged(pic) == [3]


def test_ltim_does_not_make_inputs_level_triggered(pic: Pic) -> None:
    initialize(pic, icw1=0x19)
    pulse(pic, 0)
    assert acknowledged(pic) == [0]


def test_an_input_that_becomes_level_triggered_has_no_edge(pic: Pic) -> None:
    pulse(pic, 4, 5)
    write(pic, Register.MASTER_ELCR, 1 << 4)
    assert irr(pic, MASTER) == 1 << 5


def test_irq_2_is_no_line(pic: Pic) -> None:
    assert_lines(pic, 2)
    assert not pic.intr()
    assert irr(pic, MASTER) == 0


def test_what_is_no_isa_interrupt_is_ignored(pic: Pic) -> None:
    pic.take_lines(0xFFFF_0000, 0xFFFF_0000)
    assert not pic.intr()


# ---- priorities --------------------------------------------------------------------------------


def test_a_lower_input_waits_for_the_end_of_a_higher_one(pic: Pic) -> None:
    pulse(pic, 3, 4)
    assert acknowledged(pic) == [3]
    write(pic, MASTER, EOI)
    assert acknowledged(pic) == [4]


def test_a_higher_input_interrupts_a_lower_one(pic: Pic) -> None:
    pulse(pic, 4)
    assert acknowledged(pic) == [4]
    pulse(pic, 3)
    assert acknowledged(pic) == [3]
    write(pic, MASTER, EOI)  # ends the higher one
    assert isr(pic, MASTER) == 1 << 4


def test_the_slave_s_inputs_are_between_1_and_3(pic: Pic) -> None:
    pulse(pic, 3, 15, 8, 1)
    order = []
    while pic.intr():
        order += acknowledged(pic)
        end(pic, order[-1])
    assert order == [1, 8, 15, 3]


def test_a_specific_eoi_ends_that_input(pic: Pic) -> None:
    for number in (6, 5, 4):
        pulse(pic, number)
        assert acknowledged(pic) == [number]
    write(pic, MASTER, SPECIFIC_EOI | 5)
    assert isr(pic, MASTER) == 1 << 6 | 1 << 4


def test_an_automatic_end_leaves_nothing_in_service(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.AEOI, slave_icw4=1 | Icw4.AEOI)
    pulse(pic, 5, 6, 8, 9)
    assert acknowledged(pic) == [8, 9, 5, 6]
    assert isr(pic, MASTER) == isr(pic, SLAVE) == 0


def test_rotation_on_an_eoi_makes_the_input_the_lowest(pic: Pic) -> None:
    pulse(pic, 4)
    assert acknowledged(pic) == [4]
    write(pic, MASTER, Ocw2.ROTATE_ON_NON_SPECIFIC_EOI << 5)
    pulse(pic, 4, 0, 5)
    order = []
    while pic.intr():
        order += acknowledged(pic)
        write(pic, MASTER, EOI)
    assert order == [5, 0, 4]


def test_rotation_on_a_specific_eoi(pic: Pic) -> None:
    pulse(pic, 6)
    assert acknowledged(pic) == [6]
    write(pic, MASTER, Ocw2.ROTATE_ON_SPECIFIC_EOI << 5 | 6)
    pulse(pic, 6, 7)
    assert acknowledged(pic) == [7]


def test_rotation_on_automatic_ends(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.AEOI)
    write(pic, MASTER, Ocw2.ROTATE_IN_AEOI_SET << 5)
    pulse(pic, 4)
    assert acknowledged(pic) == [4]
    pulse(pic, 4, 5)
    assert acknowledged(pic) == [5, 4]
    write(pic, MASTER, Ocw2.ROTATE_IN_AEOI_CLEAR << 5)
    pulse(pic, 5, 6)
    assert acknowledged(pic) == [5, 6]
    pulse(pic, 5, 6)
    assert acknowledged(pic) == [5, 6]


def test_the_lowest_input_can_be_set(pic: Pic) -> None:
    write(pic, MASTER, SET_PRIORITY | 5)
    pulse(pic, 0, 5, 6)
    assert acknowledged(pic) == [6]


def test_an_eoi_with_nothing_in_service_does_nothing(pic: Pic) -> None:
    write(pic, MASTER, EOI, Ocw2.ROTATE_ON_NON_SPECIFIC_EOI << 5, Ocw2.NO_OPERATION << 5 | 3)
    pulse(pic, 0, 1)
    assert acknowledged(pic) == [0]


# ---- special modes -----------------------------------------------------------------------------


def test_in_special_mask_mode_a_masked_input_holds_up_no_other(pic: Pic) -> None:
    pulse(pic, 3)
    assert acknowledged(pic) == [3]
    pulse(pic, 6)
    write(pic, MASTER_DATA, 1 << 3)
    assert not pic.intr()
    write(pic, MASTER, SPECIAL_MASK)
    assert acknowledged(pic) == [6]
    write(pic, MASTER, SPECIFIC_EOI | 6, NO_SPECIAL_MASK)
    pulse(pic, 6)
    assert not pic.intr()


def test_in_special_mask_mode_a_non_specific_eoi_passes_a_masked_input_over(pic: Pic) -> None:
    pulse(pic, 3)
    acknowledged(pic)
    write(pic, MASTER_DATA, 1 << 3)
    write(pic, MASTER, SPECIAL_MASK)
    pulse(pic, 6)
    acknowledged(pic)
    write(pic, MASTER, EOI)
    assert isr(pic, MASTER) == 1 << 3


def test_an_ocw3_without_esmm_leaves_the_special_mask_mode(pic: Pic) -> None:
    write(pic, MASTER, SPECIAL_MASK, Ocw3.OCW3)
    pulse(pic, 3)
    acknowledged(pic)
    write(pic, MASTER_DATA, 1 << 3)
    pulse(pic, 4)
    assert acknowledged(pic) == [4]


def test_the_slave_holds_up_its_higher_inputs_in_fully_nested_mode(pic: Pic) -> None:
    pulse(pic, 12)
    assert acknowledged(pic) == [12]
    pulse(pic, 9)
    assert not pic.intr()


def test_in_special_fully_nested_mode_its_higher_inputs_interrupt(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.SFNM)
    pulse(pic, 12)
    assert acknowledged(pic) == [12]
    pulse(pic, 9, 14, 3)
    assert acknowledged(pic) == [9]  # neither the slave's lower one nor the master's
    assert isr(pic, SLAVE) == 1 << 4 | 1 << 1
    pulse(pic, 1)
    assert acknowledged(pic) == [1]
    pulse(pic, 8)
    assert not pic.intr()  # below 1


def test_in_special_fully_nested_mode_the_master_s_own_inputs_wait(pic: Pic) -> None:
    initialize(pic, master_icw4=1 | Icw4.SFNM)
    pulse(pic, 4)
    assert acknowledged(pic) == [4]
    pulse(pic, 4)
    assert not pic.intr()


# ---- cascade -----------------------------------------------------------------------------------


def test_an_interrupt_of_the_slave_is_in_service_in_both(pic: Pic) -> None:
    pulse(pic, 14)
    assert (irr(pic, MASTER), irr(pic, SLAVE)) == (1 << 2, 1 << 6)
    assert acknowledged(pic) == [14]
    assert (isr(pic, MASTER), isr(pic, SLAVE)) == (1 << 2, 1 << 6)
    assert (irr(pic, MASTER), irr(pic, SLAVE)) == (0, 0)


def test_the_second_of_two_comes_after_both_ends_in_any_order(pic: Pic) -> None:
    for first, second in ((MASTER, SLAVE), (SLAVE, MASTER)):
        pulse(pic, 10, 11)
        assert acknowledged(pic) == [10]
        write(pic, first, EOI)
        write(pic, second, EOI)
        assert acknowledged(pic) == [11]
        end(pic, 11)


def test_the_master_masks_the_slave(pic: Pic) -> None:
    write(pic, MASTER_DATA, 1 << 2)
    pulse(pic, 9)
    assert not pic.intr()
    write(pic, MASTER_DATA, 0)
    assert acknowledged(pic) == [9]


def test_the_slave_s_int_is_one_edge_until_the_slave_is_acknowledged(pic: Pic) -> None:
    pulse(pic, 9)
    write(pic, MASTER, POLL)
    assert read(pic, MASTER) == 0x82
    write(pic, MASTER, EOI)
    write(pic, SLAVE_DATA, 0)
    assert not pic.intr()
    write(pic, SLAVE, POLL)
    assert read(pic, SLAVE) == 0x81
    end(pic, 9)
    pulse(pic, 10)
    assert acknowledged(pic) == [10]


def test_a_slave_with_another_address_does_not_answer(pic: Pic) -> None:
    for icw1, words in ((0x11, (SLAVE_BASE, 3, 1)), (0x11 | Icw1.SNGL, (SLAVE_BASE, 1))):
        initialize(pic)
        write(pic, SLAVE, icw1)
        write(pic, SLAVE_DATA, *words)
        pulse(pic, 9)
        assert pic.acknowledge() == NOBODY
        assert isr(pic, SLAVE) == 0


def test_without_a_slave_in_icw3_the_master_gives_the_vector(pic: Pic) -> None:
    for icw1, words in ((0x11, (MASTER_BASE, 0, 1)), (0x11 | Icw1.SNGL, (MASTER_BASE, 1))):
        initialize(pic)
        write(pic, MASTER, icw1)
        write(pic, MASTER_DATA, *words)
        pulse(pic, 9)
        assert pic.acknowledge() == MASTER_BASE + 2
        assert isr(pic, SLAVE) == 0


# ---- requests that are gone --------------------------------------------------------------------


def test_a_level_that_fell_is_a_spurious_irq_7(pic: Pic) -> None:
    write(pic, Register.MASTER_ELCR, 1 << 5)
    assert_lines(pic, 5)
    assert pic.intr()
    assert_lines(pic)
    assert not pic.intr()
    assert pic.acknowledge() == MASTER_BASE + 7
    assert isr(pic, MASTER) == 0


def test_a_request_that_the_slave_withdrew_is_a_spurious_irq_15(pic: Pic) -> None:
    write(pic, Register.SLAVE_ELCR, 1 << 3)
    assert_lines(pic, 11)
    assert_lines(pic)
    assert acknowledged(pic) == [15]
    assert isr(pic, SLAVE) == 0  # by which Linux and others know
    assert isr(pic, MASTER) == 1 << 2  # which they end
    write(pic, MASTER, EOI)
    pulse(pic, 12)
    assert acknowledged(pic) == [12]


def test_a_real_irq_7_is_in_service(pic: Pic) -> None:
    pulse(pic, 7)
    assert acknowledged(pic) == [7]
    assert isr(pic, MASTER) == 1 << 7


# ---- polling -----------------------------------------------------------------------------------


def test_a_poll_acknowledges(pic: Pic) -> None:
    pulse(pic, 4)
    write(pic, MASTER, POLL)
    assert read(pic, MASTER) == 0x84
    assert not pic.intr()
    assert isr(pic, MASTER) == 1 << 4
    assert irr(pic, MASTER) == 0


def test_a_poll_without_a_request_reads_0_and_is_over(pic: Pic) -> None:
    write(pic, MASTER_DATA, 0x50)
    write(pic, MASTER, POLL)
    assert read(pic, MASTER_DATA) == 0
    assert read(pic, MASTER_DATA) == 0x50


def test_both_chips_can_be_polled(pic: Pic) -> None:
    pulse(pic, 9, 10)
    for chip, answer in ((MASTER, 0x82), (SLAVE, 0x81)):
        write(pic, chip, POLL)
        assert read(pic, chip) == answer
    end(pic, 9)
    assert acknowledged(pic) == [10]


def test_what_is_read_stays_chosen(pic: Pic) -> None:
    pulse(pic, 3)
    acknowledged(pic)
    write(pic, MASTER, READ_ISR, Ocw3.OCW3)
    assert [read(pic, MASTER) for _ in range(2)] == [1 << 3] * 2


# ---- queued commands ---------------------------------------------------------------------------


def test_a_request_waits_for_the_end_of_another(pic: Pic) -> None:
    assert not pic.waits()
    pulse(pic, 3)
    assert not pic.waits(), "it asks"
    assert acknowledged(pic) == [3]
    assert not pic.waits()
    pulse(pic, 5)
    assert pic.waits()
    write(pic, MASTER_DATA, 1 << 5)
    assert not pic.waits(), "an unmasking is no command"
    write(pic, MASTER_DATA, 0)
    pulse(pic, 1)
    assert not pic.waits(), "it asks"
    assert acknowledged(pic) == [1]
    end(pic, 1)
    assert pic.waits()
    end(pic, 3)
    assert not pic.waits()


def test_a_slave_s_request_waits_too(pic: Pic) -> None:
    pulse(pic, 8)
    assert acknowledged(pic) == [8]
    pulse(pic, 14)
    assert pic.waits()
    write(pic, SLAVE, EOI)
    assert pic.waits()
    write(pic, MASTER, EOI)
    assert acknowledged(pic) == [14]


def test_a_quiet_command_brings_no_interrupt_where_none_waits() -> None:
    """Whatever came before: so such commands may be queued."""
    chance = Random(8259)
    quiet = 0
    for _ in range(3000):
        pic = Pic()
        pic.reset()
        initialize(pic, chance.choice([1, 3]), chance.choice([1, 3, 17]))
        for _ in range(12):
            match chance.randrange(6):
                case 0:
                    bit = 1 << chance.randrange(16)
                    pic.take_lines(chance.choice([0, bit]), bit)
                case 1 if pic.intr():
                    pic.acknowledge()
                case 2:
                    write(pic, chance.choice([*Register]), chance.getrandbits(8))
                case 3:
                    read(pic, chance.choice([*Register]))
                case _:
                    offset, value = chance.choice([MASTER, SLAVE]), chance.getrandbits(8)
                    silent = not pic.intr() and not pic.waits()
                    if silent and pic.is_quiet_write(offset, 1, value):
                        quiet += 1
                        write(pic, offset, value)
                        assert not pic.intr()
    assert quiet > 1000
