"""Debian's virtio_net on Vestige's interface, through passt and through a tap: its judgement.

In the software host, whose own network is QEMU's; what a guest is sent, and sends, is compared by
its SHA-256.
"""

import hashlib

import pytest

from tests.guests import network, network_host
from tests.guests.network_guest import (
    GATEWAY,
    GUEST_EXITS,
    NAME_SERVER,
    TAP_GUEST,
    TAP_HOST,
    Guest,
)
from vestige.softhost import SoftHost

pytestmark = pytest.mark.softhost

SET_UP = 200  # exits: of one CPU and two queues more, however many frames go by them
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
    timeout 200 iperf3 -c $HOST -n $AMOUNT $way > /tmp/iperf3 2>&1 && echo "iperf3: ok"
    cat /tmp/iperf3
done
"""
DHCP = f"""
HOST={GATEWAY} AMOUNT=512K
udhcpc -i eth0 -n -q -s /dhcp
ping -c 2 {NAME_SERVER} > /tmp/ping && echo "ping: ok"
"""
KNOCK = f"""
timeout 20 wget -q -O - http://$HOST:{network_host.SEND}/ > /tmp/got && said=somebody || said=nobody
echo "loopback: $said"
"""
STATIC = f"""
HOST={TAP_HOST} AMOUNT=2M
ip address add {TAP_GUEST}/24 dev eth0
ping -c 2 $HOST > /tmp/ping && echo "ping: ok"
"""
OFFLOADS = """
for features in "tso off" "tso on gso off" "tx off" "tx on tso on gso on gro off" \\
    "gro on rx-gro-hw off"; do
    ethtool -K eth0 $features && echo "offloads: $features" && transfer
done
"""
PAIRS = """
for pairs in 1 2; do
    ethtool -L eth0 combined $pairs
    echo "pairs:" $(ethtool -l eth0 | awk '/Combined/ { print $2 }') && transfer
done
"""


def check(guest: Guest, transfers: int) -> None:
    """So many transfers each way, all of them whole, and an orderly end."""
    words = guest.words()
    assert guest.status == 0, words
    assert guest.after("ping:") == ["ok"], words
    sent = hashlib.sha256(network_host.DATA).hexdigest()
    assert guest.after("down:") == [f"{sent}  -"] * transfers, words
    uploaded = [line.split()[0] for line in guest.after("up:")]
    assert len(uploaded) == transfers, words
    expected = [f"{network_host.SIZE} {digest}" for digest in uploaded]
    assert guest.after("received:") == expected, words
    assert guest.after("iperf3:") == ["ok", "ok"], words
    counted = guest.stats["network"]
    assert counted["down"] == 0
    assert counted["received_bytes"] > transfers * network_host.SIZE
    assert counted["sent_bytes"] > transfers * network_host.SIZE
    assert counted["received"] > 0
    assert counted["sent"] > 0


@pytest.fixture(scope="module")
def through_passt(networked: SoftHost, tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """A guest that has been on the network by `--net user,host-loopback`: its servers are there."""
    folder = tmp_path_factory.mktemp("passt")
    initrd = network.with_job("cloud", DHCP + TRANSFERS, folder / "initrd")
    return Guest(networked, folder, initrd, "--net", "user,host-loopback")


@pytest.fixture(scope="module")
def apart(networked: SoftHost, tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """A guest by `--net user` that looks for the servers on its host's loopback."""
    folder = tmp_path_factory.mktemp("apart")
    initrd = network.with_job("cloud", DHCP + KNOCK, folder / "initrd")
    return Guest(networked, folder, initrd, "--net", "user")


@pytest.fixture(scope="module")
def through_a_tap(networked: SoftHost, tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """A guest that has been on the network by `--net tap:NAME`."""
    folder = tmp_path_factory.mktemp("tap")
    initrd = network.with_job("cloud", STATIC + TRANSFERS + OFFLOADS + PAIRS, folder / "initrd")
    words = ("--net", "tap:vm0", "--ring", "kick", "--cpus", "2")
    return Guest(networked, folder, initrd, *words, tap="vm0 multi_queue")


def test_a_guest_has_the_hosts_network_through_passt(through_passt: Guest) -> None:
    check(through_passt, transfers=1)
    assert through_passt.after("interface:") == ["52:54:00:12:34:56 mtu 65520"]
    assert through_passt.after("lease:") == ["10.0.2.15 router 10.0.2.2 mtu 65520"]


@pytest.mark.slow
def test_a_guest_reaches_nothing_on_the_loopback_of_its_host_unless_asked(apart: Guest) -> None:
    words = apart.words()
    assert apart.status == 0, words
    assert apart.after("lease:") == ["10.0.2.15 router 10.0.2.2 mtu 65520"], words
    assert apart.after("loopback:") == ["nobody"], words


def test_a_guest_reaches_the_host_through_a_tap(through_a_tap: Guest) -> None:
    check(through_a_tap, transfers=8)
    assert len(through_a_tap.after("offloads:")) == 5
    assert through_a_tap.after("pairs:") == ["2 1", "2 2"]


def test_with_a_kicked_ring_no_frame_costs_an_exit_of_the_guest(
    through_a_tap: Guest, through_passt: Guest
) -> None:
    """passt's frames are of 64 KiB, a tap's of 1,500 bytes: one guest had many more of them."""
    more = through_a_tap.operations() - through_passt.operations()
    assert more > 1000
    exits = through_a_tap.exits() - through_passt.exits()
    assert exits <= more * GUEST_EXITS + SET_UP, (through_a_tap.stats, through_passt.stats)
