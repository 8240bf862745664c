"""How fast a virtio network interface is on Vestige and on QEMU, and what it costs their host.

    python -m bench.virtio_net [--rounds 3] [--seconds 2] [--speed full|half|quarter]…

One software host; the same kernel and initial RAM disk for every guest. Each round boots every
configuration once and runs iperf3 in it, to the software host and from it, over a tap and through
passt. Besides throughput: processor time of the host and exits to user space for one MiB. At half
and a quarter of the speed the software host's QEMU is held back by a control group while iperf3
runs, which then takes as much longer; there are the tap's configurations alone. Writes
bench/results/virtio_net.json and .svg and the tables in docs/performance.md; a slow speed's are
named for it.
"""

import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import virtio_report
from bench.common import command, guests, newest_qemu, readings
from bench.common.guests import ROOT, Guest
from bench.common.speed import brake
from bench.common.virtio_bench import Bench, Configuration
from bench.virtio_report import OWN, RATE, Page, span_costs
from tests.guests import initramfs, kernels, programs
from vestige.host import images
from vestige.softhost import SoftHost

NAME = "virtio_net"
GUEST = ROOT / "bench" / "guest"
MEMORY = 256  # MiB of each guest
TAP, TAP_HOST, TAP_GUEST = "vm0", "10.9.8.1", "10.9.8.2"
# To a guest behind passt the software host's gateway is the software host, and its address its own.
USER_HOST, USER_GUEST = "10.0.2.2", "10.0.2.15"
PASST_SOCKET = "/dev/shm/passt.socket"
PASST_MTU = 65_520  # as Vestige's interface has it there
OURS, USER = "Vestige, a tap", "Vestige, --net user"
POLL = "Vestige, a tap, --ring poll"
VHOST_OFF, VHOST_ON, PASST = "QEMU, vhost=off", "QEMU, vhost=on", "QEMU, passt"
FULL, HALF, QUARTER = "full", "half", "quarter"
SPEEDS = {FULL: 1.0, HALF: 0.5, QUARTER: 0.25}  # of a processor, that the software host has
JOBS = {"send": "the guest sends", "receive": "the guest receives"}
PAGE = Page(
    name=NAME,
    title="Virtio networks in the software host",
    operation="MiB",
    jobs=JOBS,
    units=dict.fromkeys(JOBS, "MiB/s"),
    pairs=((OURS, VHOST_OFF), (POLL, VHOST_OFF), (OURS, VHOST_ON), (USER, PASST)),
    colours={
        OURS: "#1b6ca8",
        POLL: "#0b3c5d",
        VHOST_OFF: "#c0392b",
        VHOST_ON: "#7f8c8d",
        USER: "#5fa8d3",
        PASST: "#e08e79",
    },
)
SLOWLY = (OURS, VHOST_OFF, VHOST_ON)  # what is measured at all speeds
_MAKE_TAP = """
ip tuntap add "$1" mode tap && ip address add "$2/24" dev "$1" && ip link set "$1" up
"""
# passt ends with its one client. Its shell's exec keeps QEMU the process that is observed.
_WITH_PASST = """
rm -f "$0"
passt --foreground --quiet --one-off --socket "$0" &
tries=300
until [ -S "$0" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 0.1
done
exec "$@"
"""


def main() -> int:
    """The command line."""
    arguments = command.arguments(
        __doc__.partition("\n")[0], seconds="iperf3 takes each way", each=2, speeds=list(SPEEDS)
    )
    found = measure(arguments.rounds, arguments.seconds, speeds=arguments.speed or SPEEDS)
    for speed, result in found.items():
        virtio_report.report(page(speed), result, write_page=not arguments.no_page)
    return 0


def page(speed: str) -> Page:
    """What its tables are made of."""
    if speed == FULL:
        return PAGE
    return PAGE._replace(
        name=f"{NAME}_{speed}",
        title=f"{PAGE.title}, at {'half' if speed == HALF else 'a quarter of'} the speed",
        pairs=((OURS, VHOST_OFF), (OURS, VHOST_ON)),
        promised=(RATE, OWN),
    )


def measure(
    rounds: int,
    seconds: int,
    table: Mapping[str, Configuration] | None = None,
    speeds: Iterable[str] = (FULL,),
) -> dict[str, dict[str, object]]:
    """All of it at these speeds, or what `table` has, in one software host."""
    say = command.Progress(NAME)
    say("preparing the guest, from Debian's packages")
    images.ensure()
    kernel = kernels.kernel("cloud")
    modules = kernels.modules_for("standard", "vhost_net")
    release = kernels.kernel("standard").release
    theirs = newest_qemu.qemu()
    guest = Guest(kernel.bzimage, initial_disk(), MEMORY, theirs.words)
    versions = {"kernel": kernel.release, "qemu": theirs.version}
    host = SoftHost(network=True)
    host.start(say)
    with ExitStack() as stack:
        stack.enter_context(host)
        guests.load_modules(host, release, modules)
        guests.inside(host, _MAKE_TAP, TAP, TAP_HOST)
        bench = Bench(host, guest, seconds, say)
        if set(speeds) != {FULL}:
            bench = bench._replace(brake=stack.enter_context(brake(host.pid)))
        stack.enter_context(server(host))
        said = ""
        if table is None:
            packed = choose_ring(bench)
            table = configurations(packed=packed)
            said = f"QEMU: {ring_words(packed=packed)}."
        found = {}
        for speed in speeds:
            say(f"at {speed} speed")
            slow = bench._replace(share=SPEEDS[speed])
            rows = {name: each for name, each in table.items() if speed == FULL or name in SLOWLY}
            found[speed] = slow.result(rows, rounds, one, versions, said=said)
        return found


def choose_ring(bench: Bench) -> bool:
    """Whether QEMU is faster with packed rings, both ways and without vhost, a second each."""
    brief = bench._replace(seconds=1)
    rates = {}
    for packed in (False, True):
        bench.say(f"QEMU: {ring_words(packed=packed)}")
        found = one(brief, configurations(packed=packed)[VHOST_OFF])
        rates[packed] = statistics.geometric_mean(
            found[virtio_report.key(job, RATE)] for job in JOBS
        )
    chosen = rates[True] > rates[False]
    bench.say(f"{ring_words(packed=chosen)} are the faster")
    return chosen


def ring_words(*, packed: bool) -> str:
    """For the report."""
    return f"{'packed' if packed else 'split'} rings"


@contextmanager
def server(host: SoftHost) -> Iterator[None]:
    """iperf3, inside; it keeps what it sends in a file without a name, as /dev/shm has them."""
    serving = host.spawn(
        ["iperf3", "--server"],
        env={**os.environ, "TMPDIR": "/dev/shm"},
        stdout=(null := os.open(os.devnull, os.O_WRONLY)),
    )
    try:
        yield
    finally:
        serving.kill()
        os.close(null)


def configurations(*, packed: bool = False) -> dict[str, Configuration]:
    """Every one, in the order of a round. `packed`: QEMU's rings."""
    ring = guests.ring(packed=packed)
    tap = f"tap,id=net,ifname={TAP},script=no,downscript=no"
    stream = f"stream,id=net,server=off,addr.type=unix,addr.path={PASST_SOCKET}"
    return {
        OURS: vestige(f"tap:{TAP}", TAP_WORDS),
        POLL: vestige(f"tap:{TAP}", TAP_WORDS, "poll"),
        VHOST_OFF: qemu(f"{tap},vhost=off", ring),
        VHOST_ON: qemu(f"{tap},vhost=on", ring),
        USER: vestige("user,host-loopback", USER_WORDS),
        PASST: qemu_passt(qemu(stream, f"{ring},host_mtu={PASST_MTU}", USER_WORDS)),
    }


TAP_WORDS = f"host={TAP_HOST} address={TAP_GUEST}"
USER_WORDS = f"host={USER_HOST} address={USER_GUEST}"


def vestige(net: str, words: str, ring: str = "kick") -> Configuration:
    """A tap, or passt, which Vestige starts."""
    return lambda guest, append: guests.vestige(
        guest, f"{words} {append}", ("--net", net, "--ring", ring), console=guests.VIRTIO
    )


def qemu(netdev: str, more: str = "", words: str = TAP_WORDS) -> Configuration:
    """QEMU's virtio-net over PCI, modern only."""
    device = f"virtio-net-pci,netdev=net,romfile=,{guests.MODERN}{more}"
    net = ("-netdev", netdev, "-device", device)
    return lambda guest, append: guests.qemu_virtio(
        guest, f"{words} {append}", net, guests.MICROVM_PCI
    )


def qemu_passt(configuration: Configuration) -> Configuration:
    """The same with a passt of its own, whose processor time counts as it does with Vestige."""
    return lambda guest, append: [
        *("sh", "-c", _WITH_PASST, PASST_SOCKET),
        *configuration(guest, append),
    ]


def one(bench: Bench, configuration: Configuration) -> dict[str, float]:
    """Boot once; every measure of both ways."""
    run = bench.boot(configuration)
    found: dict[str, float] = {}
    for way, moved in readings.iperf3(run.console).items():
        found |= span_costs(way, moved.mebibytes, moved.total, run.spans[way])
    bench.say("  " + virtio_report.summary(PAGE, found))
    return found


def initial_disk() -> Path:
    """The guest's initial RAM disk."""
    files = {
        **programs.programs("iperf3"),
        "bin/mark": GUEST / "mark",
        "job": GUEST / "net-job",
    }
    modules = kernels.modules_for("cloud", "virtio_pci", "virtio_console", "virtio_net")
    return initramfs.with_programs(NAME, GUEST / "virtio-init", "cloud", files, modules)


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
