"""Virtio devices after every event: new buffers taken, requests moved on, interrupts raised.

A notification carries nothing that is not in the queues, so none is needed to look at them, and
one is no more than a reason to wake up: every event of the machine looks at every queue in use.
"""

from vestige.abi import MAX_NET_PAIRS, MAX_VIRTIO, Config, Statistics, VirtioKind
from vestige.lang.types import u8, u32, u64
from vestige.monitor.block import DISK_REQUESTS, IDE_REQUESTS
from vestige.monitor.core.machine import Machine
from vestige.monitor.core.ports import move_entropy
from vestige.monitor.core.requests import answered
from vestige.monitor.devices.virtio.function import VirtioFunction


def move_virtio(
    machine: Machine, config: Config, statistics: Statistics, now: u64, cpu: u64
) -> None:
    """All functions, until nothing of theirs moves; `cpu` is who does it."""
    if not machine.virtio.present:
        return
    for number in range(MAX_VIRTIO):
        function = machine.virtio.functions[number]
        if function.kind != VirtioKind.NONE:
            machine.virtio.service(number, config.ram)
            match function.kind:
                case VirtioKind.BLOCK:
                    move_disk(machine, config, number, now, cpu)
                case VirtioKind.CONSOLE:
                    move_console(machine, config, number, now)
                case VirtioKind.ENTROPY:
                    move_random(machine, config, number)
                case VirtioKind.NET:
                    move_network(machine, config, statistics, number, now)
                case _:
                    pass
            machine.virtio.signal(number, config.ram)
            report(function, statistics, number)


def move_disk(machine: Machine, config: Config, number: u32, now: u64, cpu: u64) -> None:
    """The requests of one disk. What is answered makes room for more, which may end at once."""
    function = machine.virtio.functions[number]
    index = function.index & 3
    block = machine.virtio.blocks[index]
    moving = True
    while moving:
        moving = False
        busy = block.busy
        for i in range(DISK_REQUESTS):
            if busy >> i & 1:
                tag = u8(IDE_REQUESTS + index * DISK_REQUESTS + i)
                while answered(machine, config, tag, block.requests[i], now, cpu):
                    block.request_done(function.device, i, config.ram)
                    moving = True
        if moving:
            machine.virtio.service(number, config.ram)


def move_console(machine: Machine, config: Config, number: u32, now: u64) -> None:
    """The console's ports: what has been written makes room for output, what came is input."""
    console = machine.virtio.console
    resized = config.columns != console.columns or config.rows != console.rows
    if resized and console.columns and config.columns:
        console.resize(machine.virtio.functions[number].device, config.columns, config.rows)
        machine.virtio.service(number, config.ram)
    if machine.ports.take_answers(console, machine.driver, machine.failures, now):
        machine.virtio.service(number, config.ram)
    machine.ports.move(console, config, machine.driver, config.ring, now)


def move_random(machine: Machine, config: Config, number: u32) -> None:
    """The entropy device's pool."""
    device = machine.virtio.functions[number].device
    entropy = machine.virtio.entropy
    if move_entropy(entropy, device, config.entropy, machine.driver, config.ring):
        machine.virtio.service(number, config.ram)
        move_entropy(entropy, device, config.entropy, machine.driver, config.ring)


def move_network(
    machine: Machine, config: Config, statistics: Statistics, number: u32, now: u64
) -> None:
    """Frames in both directions, as far as they get; those half in a queue's buffers first."""
    device = machine.virtio.functions[number].device
    net = machine.virtio.network
    for i in range(MAX_NET_PAIRS):
        if net.is_halfway(i):
            machine.networks[i].deliver(net, device, config.ram)
    for i in range(MAX_NET_PAIRS):
        if i < config.net.pairs:
            machine.networks[i].move(net, device, config, machine.driver, now)
    shown = statistics.net
    shown.down = net.link == 0
    shown.received = net.traffic.received
    shown.received_bytes = net.traffic.received_bytes
    shown.received_dropped = net.traffic.received_dropped
    shown.sent = net.traffic.sent
    shown.sent_bytes = net.traffic.sent_bytes
    shown.sent_dropped = net.traffic.sent_dropped


def report(function: VirtioFunction, statistics: Statistics, number: u32) -> None:
    """Show the function's counters to the host."""
    shown = statistics.virtio[number]
    shown.requests = function.device.requests
    shown.notifications = function.notifications
    shown.failures = function.device.failures
    shown.resets = function.device.resets
