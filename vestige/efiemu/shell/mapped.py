"""The guest's accesses of memory that is not in its nested page table. APM volume 2, 15.25.6.

The shell answers for pages of configuration space, and does the guest's accesses of the I/O APIC
and stores to the local APICs: an instruction that touches one is done step by step. Memory above
EVERYTHING is mapped as it is touched. What else is not there, or no instruction that the shell
knows, ends the machine with a line.
"""

from vestige.efiemu.shell import apic, ecam, ioapic
from vestige.efiemu.shell.attempt import conclude
from vestige.efiemu.shell.block import EVERYTHING, GUEST, HIGHEST, common, reach
from vestige.efiemu.shell.code import fetch
from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.operands import Place, locate
from vestige.efiemu.shell.operate import operate
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.types import u8, u64


def answer_memory(shell: Shell, vmcb: Vmcb) -> None:
    """A nested page fault."""
    if map_high(shell, vmcb.information[1]):
        return
    memory, walk, found = shell.memory, shell.walk, shell.found
    outcome = fetch(vmcb, memory, walk, shell.decoder, found)
    if outcome == Outcome.DONE:
        outcome = locate(vmcb, shell.guest, memory, walk, found, shell.operands)
    if outcome == Outcome.DONE and not shell.operands.over:
        outcome = do_step(shell, vmcb)
    conclude(shell, vmcb, outcome)


def map_high(shell: Shell, address: u64) -> bool:
    """Whether an address is one of those that few machines have; its surroundings are there now."""
    if not EVERYTHING <= address < HIGHEST:
        return False
    shared = common(shell)
    shared.lock.acquire()
    room = shared.tables.next < shared.tables.end
    if room:
        reach(shell, shell.guest_root, address, GUEST)
    shared.lock.release()
    return room


def do_step(shell: Shell, vmcb: Vmcb) -> u8:
    """One step of the instruction, all of it but of a REP: DONE, or REFUSED before anything."""
    found, operands = shell.found, shell.operands
    size, value = found.size, u64(0)
    if found.reads() and not is_answered(shell, operands.source, size):
        return refuse(shell, operands.source)
    if found.writes() and not is_answered(shell, operands.destination, size):
        return refuse(shell, operands.destination)
    if found.reads():
        value = load(shell, operands.source, size)
    value = operate(vmcb, shell.guest, found, value)
    if found.writes():
        store(shell, operands.destination, size, value)
    return Outcome.DONE


def is_answered(shell: Shell, place: Place, size: u8) -> bool:
    """Whether it is RAM, or in a page that the shell answers for."""
    if place.is_ram(shell.memory, size):
        return True
    there = place.physical
    known = ecam.is_taken(shell, there) or apic.is_apic(shell, there) or ioapic.is_ioapic(there)
    return place.near == size and known


def load(shell: Shell, place: Place, size: u8) -> u64:
    """What is there."""
    if place.is_ram(shell.memory, size):
        return place.load(shell.memory, size)
    if apic.is_apic(shell, place.physical):
        return apic.read(shell, place.physical, size)
    if ioapic.is_ioapic(place.physical):
        return ioapic.read(shell, place.physical, size)
    return ecam.read(shell, place.physical, size)


def store(shell: Shell, place: Place, size: u8, value: u64) -> None:
    """Put it there."""
    if place.is_ram(shell.memory, size):
        place.store(shell.memory, size, value)
    elif apic.is_apic(shell, place.physical):
        apic.write(shell, place.physical, size, value)
    elif ioapic.is_ioapic(place.physical):
        ioapic.write(shell, place.physical, size, value)
    else:
        ecam.write(shell, place.physical, size, value)


def refuse(shell: Shell, place: Place) -> u8:
    """Nobody is there."""
    shell.walk.fault.address = place.physical
    return Outcome.REFUSED
