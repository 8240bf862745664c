"""Freezing: all state is memory, which is copied while nothing is under way, and goes on elsewhere.

A frozen machine's CPUs have answered all their traps, and hold no lock; nothing waits in its rings
but reads of streams. Whoever thaws it has new rings and virtual CPUs, which begin at their entries
as at power-on: they hold nothing from one trap to the next.
"""

from vestige.abi import FENCE_SIGNAL, Config, Cpu, Shared
from vestige.lang.intrinsics import cold
from vestige.monitor import outside
from vestige.monitor.core.domains import machine_of, shared_of
from vestige.monitor.core.machine import Machine


@cold
def is_at_rest(cpu: Cpu, machine: Machine, config: Config) -> bool:
    """Whether nothing is under way in this worker's domain, whose turn is over, that would be lost.

    No CPU of the guest's runs, nor is any in the monitor.
    """
    for number in range(FENCE_SIGNAL):  # those of posted starts
        if cpu.signals[number]:
            return False
    if config.domain == 0 and outside.queued_writes(config):
        return False
    return not config.ring.present or machine.ring_driver.is_idle()


def go_on(machine: Machine, shared: Shared) -> None:
    """All domains go on; `machine` and `shared` are the first's, their Configs the new ones."""
    for domain in range(shared.config.domains):
        machine_of(machine, domain).go_on(shared_of(shared, domain).config)
