"""Run in the software host by test_lease.py: a Debian and copies of it, on one network.

    python -m tests.host.freeze.lease_inside KERNEL INITRD BUSYBOX PROGRAMS FOLDER DISK MODULE…

The network is a bridge of taps, with dnsmasq on it. Of PROGRAMS there are dnsmasq and its
libraries; MODULES are the bridge's. Prints one JSON object of what there was to be seen.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vestige.launcher import Launcher, Machine

PATIENCE = 600.0  # seconds for the guest to boot, and for a lease
ANSWER = 120.0  # seconds for one of its server's
IN_MEMORY = Path("/dev/shm")
TAPS, ALONE = ("tap0", "tap1", "tap2"), "tap3"  # those on the bridge, and one that is not
BRIDGE, OWN, RANGE = "br0", "10.9.0.1", "10.9.0.10,10.9.0.99,1h"
PORT = 7000
# Answers each line with the MAC that it has: a connection tells to whom it leads.
SERVER = f"""\
import pathlib, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for _ in self.rfile:
            self.wfile.write(pathlib.Path("/sys/class/net/eth0/address").read_bytes())
with socketserver.ThreadingTCPServer(("", {PORT}), Handler) as server:
    pathlib.Path("/run/serves").touch()
    server.serve_forever()
"""
SERVE = """\
setsid python3 -c "$0" < /dev/null > /dev/null 2>&1 &
until [ -e /run/serves ]; do sleep 0.2; done
"""
WAIT = "until ip -o -4 address show dev eth0 | grep -q inet; do sleep 0.2; done"
LOOK = "cat /sys/class/net/eth0/address; ip -o -4 address show dev eth0"
# From here on ifupdown has nothing to do with the interface, and systemd-networkd has.
NETWORKD = f"""\
ifdown eth0
sed -i /eth0/d /etc/network/interfaces
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\n' > /etc/systemd/network/eth0.network
systemctl start systemd-networkd
{WAIT}
"""


def run(*words: str) -> None:
    """Run a command here. Raises CalledProcessError."""
    subprocess.run(words, check=True)


def make_network(busybox: str, modules: Sequence[str]) -> None:
    """The bridge, and the taps."""
    for module in modules:
        run(busybox, "insmod", module)
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{OWN}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    for tap in (*TAPS, ALONE):
        run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        run("ip", "link", "set", tap, *(["master", BRIDGE] if tap in TAPS else []), "up")


@contextmanager
def dnsmasq(programs: Path) -> Iterator[Path]:
    """Has it give out addresses on the bridge; a folder with its `log`."""
    folder = IN_MEMORY / "dnsmasq"
    folder.mkdir()
    words: list[str | Path] = [
        *(programs / "lib64/ld-linux-x86-64.so.2", "--library-path"),
        *(programs / "lib/x86_64-linux-gnu", programs / "bin/dnsmasq"),
        *("--conf-file=/dev/null", "--keep-in-foreground", "--user=root", "--port=0"),
        *(f"--interface={BRIDGE}", "--bind-interfaces", f"--dhcp-range={RANGE}"),
        *("--no-resolv", "--no-hosts", f"--dhcp-leasefile={folder}/leases"),
        *(f"--pid-file={folder}/pid", f"--log-facility={folder}/log", "--log-dhcp"),
    ]
    with subprocess.Popen(words) as process:
        try:
            yield folder
        finally:
            process.terminate()


def ask(machine: Machine, *words: str) -> str:
    """What a script of the guest's shell prints."""
    machine.patience = PATIENCE
    done = machine.run(["sh", "-c", *words], timeout=PATIENCE)
    if done.status:
        raise RuntimeError(f"{words[0]}: {done.status}, {done.stdout!r}, {done.stderr!r}")
    return done.stdout.decode()


def says(connection: socket.socket) -> str:
    """Which MAC it has to whom the connection leads."""
    connection.sendall(b"\n")
    with connection.makefile() as file:
        return file.readline().strip()


def connect(address: str) -> socket.socket:
    """To the server in a guest. Raises OSError."""
    return socket.create_connection((address, PORT), timeout=ANSWER)


def look(machine: Machine) -> tuple[str, str]:
    """Its MAC and its address, as it says itself: the first thing that it is asked."""
    mac, *words = ask(machine, LOOK).split()
    (address,) = [word.partition("/")[0] for word in words if "/24" in word] or ["none"]
    return mac, address


def met(machine: Machine) -> tuple[str, str, str]:
    """The same, and which MAC it has that is met at its address."""
    mac, address = look(machine)
    with connect(address) as connection:
        return mac, address, says(connection)


def main() -> None:
    """All of it."""
    kernel, initrd, busybox, programs, folder, disk, *modules = sys.argv[1:]
    make_network(busybox, modules)
    os.environ["TMPDIR"] = str(IN_MEMORY)  # where temporary overlays are
    found: dict[str, Any] = {}
    found["taps"] = [Path(f"/sys/class/net/{tap}/address").read_text().strip() for tap in TAPS]
    first, second = IN_MEMORY / "first", IN_MEMORY / "second"
    with dnsmasq(Path(programs)) as kept, Launcher() as launcher:

        def thaw(snapshot: Path, net: str, errors: int | None = None) -> Machine:
            console = f"{folder}/{snapshot.name}-{net}"
            return launcher.thaw(snapshot, agent=True, net=net, console=console, stderr=errors)

        with launcher.start(
            kernel=kernel,
            initrd=initrd,
            append="root=/dev/vda console=ttyS0 quiet",
            memory="256M",
            disk=f"{disk},overlay=temporary",
            agent=True,
            net=f"tap:{TAPS[0]}",
            console=f"{folder}/original",
        ) as original:
            ask(original, WAIT)
            ask(original, SERVE, SERVER)
            found["original"] = met(original)
            with connect(found["original"][1]) as connection:
                found["before"] = says(connection)
                original.freeze(first)
                with thaw(first, f"tap:{TAPS[1]}") as one, thaw(first, f"tap:{TAPS[2]}") as other:
                    found["copies"] = [met(one), met(other)]
                    found["still"] = says(connection)
                    found["again"] = met(original)
                    other.stop()
                    other.wait()
                    ask(one, NETWORKD)
                    found["networkd"] = met(one)
                    one.freeze(second)
                    with thaw(second, f"tap:{TAPS[2]}") as copy:
                        found["copy"] = met(copy)
                        found["last"] = met(one)
            errors = IN_MEMORY / "errors"
            with errors.open("w+b") as file:
                with thaw(first, f"tap:{TAPS[0]}", file.fileno()) as machine:
                    found["busy"] = machine.wait()
                with thaw(first, f"tap:{ALONE},mac=keep", file.fileno()) as machine:
                    found["kept"] = look(machine)
                with thaw(first, f"tap:{ALONE}", file.fileno()) as machine:
                    found["alone"] = look(machine)
            found["told"] = errors.read_text()
        found["log"] = (kept / "log").read_text()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
