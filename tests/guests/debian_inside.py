"""Run in the software host by test_debian.py: somebody logs in to Debian on its virtio console.

    python -m tests.guests.debian_inside KERNEL INITRD DISK FOLDER

The guest's network is passt's; on it network_host.py's DATA is to be had. Prints one JSON object of
what came back.
"""

import json
import pty
import sys
from pathlib import Path

from tests.guests import network_host
from tests.guests.consoles_inside import Person, start

PATIENCE = 540  # seconds to the login prompt, for an answer, and for the end
TIMEOUT = 3 * PATIENCE  # of the guest
GATEWAY = "10.0.2.2"  # of QEMU's network; to a guest behind passt the software host itself
DATA = f"http://{GATEWAY}:{network_host.SEND}/"
# What a boot can do without, in seconds of a slow machine: modules that aren't there, consoles on
# a screen, waiting for devices that the initial RAM disk has brought, and housekeeping.
SKIPPED = (
    *("modprobe@.service", "getty-static.service", "getty@tty1.service"),
    *("ifupdown-pre.service", "e2scrub_reap.service", "systemd-pstore.service"),
    *("systemd-binfmt.service", "timers.target"),
)
APPEND = "root=/dev/vda console=hvc0 quiet panic=-1"
QUESTIONS = {
    "user": "id --user --name",
    "terminal": "tty",
    "state": "systemctl is-system-running --wait",
    "address": "ip -color=never -brief -4 address show dev eth0",
    "route": "ip -color=never route show default",
    "resolver": "cat /etc/resolv.conf",
    "download": f"/usr/lib/apt/apt-helper download-file {DATA} /data",
    "digest": "sha256sum < /data",
}


def main() -> None:
    """All of it, with one guest."""
    kernel, initrd, disk, folder = sys.argv[1:5]
    network_host.serve(network_host.SEND, network_host.send)
    skipped = " ".join(f"systemd.mask={unit}" for unit in SKIPPED)
    ours, theirs = pty.openpty()
    words = (
        *("--kernel", kernel, "--initrd", initrd, "--append", f"{APPEND} {skipped}"),
        *(
            "--disk",
            disk,
            "--net",
            "user,host-loopback",
            "--console",
            "virtio",
            "--timeout",
            str(TIMEOUT),
        ),
    )
    guest = start(words, theirs, folder)
    try:
        found = log_in(Person(ours, guest, PATIENCE))
        _, errors = guest.communicate(timeout=PATIENCE)
    finally:
        guest.kill()
    stats = json.loads(Path(folder, "stats").read_text())
    answer = {
        "found": found,
        "status": guest.returncode,
        "errors": errors.decode(),
        "failures": [function["failures"] for function in stats["virtio"]],
    }
    json.dump(answer, sys.stdout)


def log_in(person: Person) -> dict[str, str]:
    """What the guest answers to each question; then it is told to power off."""
    before = person.read_until(b"vestige login: ").decode(errors="replace")
    person.type("root\n")
    person.read_until(b"root@vestige:~# ")
    person.type("exec dash\n")  # which prints nothing to make a terminal look well
    person.read_until(b"# ")
    person.type("stty -echo; PS1=\n")
    person.ask("true")
    found = {name: person.ask(command).strip() for name, command in QUESTIONS.items()}
    person.type("poweroff\n")
    return {"before": before, **found}


if __name__ == "__main__":
    main()
