"""Virtio devices after every event: new buffers taken, requests moved on, interrupts raised.

A notification carries nothing that is not in the queues, so none is needed to look at them, and
one is no more than a reason to wake up: every event of the machine looks at every queue in use.
"""

from vestige.abi import MAX_VIRTIO, Config, Statistics, VirtioKind
from vestige.devices import VIRTIO_TYPES
from vestige.lang.types import u8, u32, u64
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.requests import answered
from vestige.monitor.devices.virtio.function import VirtioFunction
from vestige.place import VirtioType
from vestige.shapes import VirtioDisk, VirtioLink


def move_virtio(
    machine: Machine, config: Config, statistics: Statistics, now: u64, cpu: u64
) -> None:
    """All functions, until nothing of theirs moves; `cpu` is who does it."""
    virtio = machine.virtio
    for number in range(min(virtio.count, MAX_VIRTIO)):
        function = virtio.functions[number]
        if function.kind != VirtioKind.NONE:
            device = function.device
            virtio.service(number)
            for row in VIRTIO_TYPES:
                if function.kind == row.kind:
                    if row.requests is not None:
                        move_requests(machine, config, row, number, now, cpu)
                    if row.link:
                        link: VirtioLink = getattr(machine, row.link)
                        model = getattr(virtio, row.field)[function.index % row.count]
                        ring_driver = machine.ring_driver
                        if link.take(model, device, config, ring_driver, now):
                            virtio.service(number)
                        link.move(model, device, config, ring_driver, statistics, now)
            virtio.signal(number)
            report(function, statistics, number)


def move_requests(
    machine: Machine, config: Config, row: VirtioType, number: u32, now: u64, cpu: u64
) -> None:
    """The requests of one disk. What is answered makes room for more, which may end at once."""
    if row.requests is None:
        return
    function = machine.virtio.functions[number]
    index = function.index % row.count
    disk: VirtioDisk = getattr(machine.virtio, row.field)[index]
    first = row.requests.first + index * row.requests.count
    moving = True
    while moving:
        moving = False
        busy = disk.busy
        for i in range(row.requests.count):
            if busy >> i == 0:
                break
            if busy >> i & 1:
                request = getattr(disk, row.requests.parts)[i]
                while answered(machine, config, u8(first + i), request, now, cpu):
                    disk.request_done(function.device, i, config.ram)
                    moving = True
        if moving:
            machine.virtio.service(number)


def report(function: VirtioFunction, statistics: Statistics, number: u32) -> None:
    """Show the function's counters to the host."""
    shown = statistics.virtio[number]
    shown.requests = function.device.requests
    shown.notifications = function.notifications
    shown.failures = function.device.failures
    shown.resets = function.device.resets
