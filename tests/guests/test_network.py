"""Debian's virtio_net on Vestige's interface, through passt and through a tap: its judgement.

In the software host, whose own network is QEMU's; what a guest is sent, and sends, is compared by
its SHA-256.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests import kernels, network, network_host
from tests.guests.store import ROOT
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.xdist_group("softhost"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("qemu-system-x86_64", "passt", "ip", "iperf3"))),
        reason="needs qemu-system-x86_64 (software host), passt, ip and iperf3",
    ),
]

GUEST_TIMEOUT = 480  # seconds
TAP_HOST, TAP_GUEST = "10.9.8.1", "10.9.8.2"
GATEWAY = "10.0.2.2"  # of QEMU's network; to a guest behind passt the software host itself

# Down and up through HOST, the sums of both said; then both ways as fast as it gets.
TRANSFERS = f"""
transfer() {{
    echo "down: $(wget -q -O - http://$HOST:{network_host.SEND}/ | sha256sum)"
    echo "up: $(sha256sum < /tmp/up)"
    nc -w 60 $HOST {network_host.RECEIVE} < /tmp/up
}}
head -c {network_host.SIZE} /dev/urandom > /tmp/up
# A reader as slow as this one must not close its window: passt would wait 2 s each time.
echo 4096 4194304 8388608 > /proc/sys/net/ipv4/tcp_rmem
transfer
for way in "" -R; do
    timeout 120 iperf3 -c $HOST -n 2M $way > /tmp/iperf3 2>&1 && echo "iperf3: ok"
    cat /tmp/iperf3
done
"""
DHCP = f"""
HOST={GATEWAY}
udhcpc -i eth0 -n -q -s /dhcp
ping -c 2 $HOST > /tmp/ping && echo "ping: ok"
"""
STATIC = f"""
HOST={TAP_HOST}
ip address add {TAP_GUEST}/24 dev eth0
ping -c 2 $HOST > /tmp/ping && echo "ping: ok"
"""
OFFLOADS = """
for features in "tso off" "tso on gso off" "tx off" "tx on tso on gso on gro off"; do
    ethtool -K eth0 $features && echo "offloads: $features" && transfer
done
"""


@pytest.fixture(scope="module")
def host() -> Iterator[SoftHost]:
    """A software host with a network."""
    with SoftHost(network=True) as each:
        yield each


class Guest:
    """How a guest ended, what it said and what was counted."""

    def __init__(self, host: SoftHost, folder: Path, job: str, *words: str, tap: str = "") -> None:
        stats = folder / "stats.json"
        initrd = network.with_job("cloud", job, folder / "initrd")
        tapped = ["--tap", tap, f"{TAP_HOST}/24"] if tap else []
        command = [
            *(sys.executable, "-m", "tests.guests.network_host", *tapped, "--"),
            *(sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm"),
            *("--kernel", str(kernels.kernel("cloud").vmlinux), "--initrd", str(initrd)),
            *("--append", "console=ttyS0 quiet panic=-1", "--memory", "256M"),
            *("--timeout", str(GUEST_TIMEOUT), "--stats", str(stats), *words),
        ]
        done = host.capture(command, timeout=GUEST_TIMEOUT + 60, cwd=ROOT)
        self.status = done.status
        self.lines = done.stdout.decode(errors="replace").splitlines()
        self.errors = done.stderr.decode(errors="replace")
        self.stats: dict[str, Any] = json.loads(stats.read_text()) if stats.exists() else {}

    def after(self, prefix: str) -> list[str]:
        """What follows `prefix` in each line that begins with it."""
        return [line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix)]

    def check(self, transfers: int) -> None:
        """So many transfers each way, all of them whole, and an orderly end."""
        words = (self.status, self.lines, self.errors)
        assert self.status == 0, words
        assert self.after("ping:") == ["ok"], words
        sent = hashlib.sha256(network_host.DATA).hexdigest()
        assert self.after("down:") == [f"{sent}  -"] * transfers, words
        uploaded = [line.split()[0] for line in self.after("up:")]
        assert len(uploaded) == transfers, words
        expected = [f"{network_host.SIZE} {digest}" for digest in uploaded]
        assert self.after("received:") == expected, words
        assert self.after("iperf3:") == ["ok", "ok"], words
        counted = self.stats["network"]
        assert counted["down"] == 0
        assert counted["received_bytes"] > transfers * network_host.SIZE
        assert counted["sent_bytes"] > transfers * network_host.SIZE
        assert counted["received"] > 0
        assert counted["sent"] > 0


def test_a_guest_has_the_hosts_network_through_passt(host: SoftHost, tmp_path: Path) -> None:
    guest = Guest(host, tmp_path, DHCP + TRANSFERS, "--net", "user")
    guest.check(transfers=1)
    assert guest.after("interface:") == ["52:54:00:12:34:56 mtu 65520"]
    assert guest.after("lease:") == ["10.0.2.15 router 10.0.2.2 mtu 65520"]


def test_a_guest_reaches_the_host_through_a_tap(host: SoftHost, tmp_path: Path) -> None:
    guest = Guest(host, tmp_path, STATIC + TRANSFERS + OFFLOADS, "--net", "tap:vm0", tap="vm0")
    guest.check(transfers=5)
    assert len(guest.after("offloads:")) == 4
