"""The interrupts of a guest's virtio devices, as cpus= of scripts/disk-init prints them."""

from typing import Protocol


class Said(Protocol):
    """A guest that has ended."""

    def after(self, prefix: str) -> list[str]:
        """What follows `prefix` in each line that begins with it."""


def of_vectors(guest: Said, cpus: int) -> dict[str, list[int]]:
    """By a vector's name: how many came to each CPU."""
    rows = [line.split() for line in guest.after("interrupts:")]
    return {row[-1]: [int(count) for count in row[1 : 1 + cpus]] for row in rows}


def check_that_each_cpu_has_a_queue(guest: Said, cpus: int) -> None:
    """Of the first disk, one whose interrupts come to it alone: which one, Linux chooses."""
    counts = of_vectors(guest, cpus)
    meant_for = dict(line.split() for line in guest.after("affinity:"))
    queues = [f"virtio0-req.{number}" for number in range(cpus)]
    assert sorted(meant_for[queue] for queue in queues) == [str(cpu) for cpu in range(cpus)]
    for queue in queues:
        came_to = [str(cpu) for cpu, count in enumerate(counts[queue]) if count]
        assert came_to == [meant_for[queue]], (queue, counts, meant_for)
