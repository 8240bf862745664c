"""The first program in the software host: a script that loads modules, mounts, and hands over.

The caller's file system arrives twice over 9p. `live` is writable and keeps no data cached, so
that each side sees the other's writes; it becomes the root. `cached` is read-only and cached for
good; parts of it (/usr, Python's own trees, Vestige's) are bound over the root, since starting a
Python over an uncached share takes seconds.

A software host that is kept apart has neither: each of those parts is a share of its own, read-only
and cached, on a root in memory that holds a few names more.
"""

import shlex
from collections.abc import Mapping, Sequence

from vestige.softhost.cpio import Archive

LIVE_TAG = "live"
CACHED_TAG = "cached"
TREE_TAG = "tree{}"  # with a number

# How far the TSC's frequency may be from what KVM was loaded with, in millionths. Linux measures it
# early in its boot, and again a second later: on a busy machine the two differ. Where it is now the
# higher one, by more than KVM's own 250, KVM would scale the TSC of a new CPU, which TCG can't; it
# then leaves the scale at 0, and a guest's timer takes twice the time since the boot (Linux 6.1,
# arch/x86/kvm/x86.c, kvm_set_tsc_khz; lapic.c, start_sw_tscdeadline).
_TSC_TOLERANCE = 500_000

_MESSAGE_SIZE = 512_000  # bytes of a 9p message: the most that Linux's virtio transport takes
_TRANSPORT = f"trans=virtio,version=9p2000.L,msize={_MESSAGE_SIZE},access=client"
_READ_ONLY = f"{_TRANSPORT},cache=loose,ro"

_SCRIPT = """#!/bin/sh
# Written by Vestige: the first program of the software host.
export PATH=/bin
fail() {{ echo "softhost: $*"; busybox poweroff -f; }}
busybox mount -t proc proc /proc || fail "no /proc"
busybox mount -t sysfs sysfs /sys || fail "no /sys"
busybox mount -t devtmpfs devtmpfs /dev || fail "no /dev"
for list in {lists}; do
    while read -r name; do
        busybox insmod "/modules/$name.ko" || fail "module $name does not load"
    done < "/modules/$list"
done
echo {tolerance} > /sys/module/kvm/parameters/tsc_tolerance_ppm || fail "no such parameter of KVM"
{root}
{vfio}
{network}
for device in /dev/kvm /dev/net/tun /dev/vd* /dev/vfio/[0-9]*; do
    [ -e "$device" ] && busybox chmod 0666 "$device"
done
busybox mount -t proc proc /root/proc || fail "no /proc in the caller's file system"
busybox mount -t sysfs sysfs /root/sys || fail "no /sys in the caller's file system"
busybox mount --move /dev /root/dev || fail "no /dev in the caller's file system"
cd /root/dev
busybox mkdir -p pts shm run
busybox mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts pts
busybox mount -t tmpfs -o mode=1777 tmpfs shm
busybox ln -sf /proc/self/fd fd
busybox ln -sf fd/0 stdin
busybox ln -sf fd/1 stdout
busybox ln -sf fd/2 stderr
busybox ln -sf pts/ptmx ptmx
cd /
busybox hostname softhost
busybox ifconfig lo 127.0.0.1 up
ulimit -l unlimited
ulimit -n 65536
busybox umount /proc
busybox umount /sys
export PYTHONPATH={package_parent}
exec busybox switch_root /root {python} -S -s -P -B -c \\
    'from vestige.softhost.agent import main; main()'
"""

_WHOLE = """busybox mount -t 9p -o {live_options} {live} /root || fail "no file system"
busybox mount -t 9p -o {cached_options} {cached} /cached || fail "no cached file system"
for tree in {trees}; do
    busybox mount -o bind "/cached$tree" "/root$tree" || fail "$tree: no cached copy"
done"""

# Who asks for the name of a user, as passt does, finds two.
_APART = """busybox mount -t tmpfs -o mode=755 tmpfs /root || fail "no root"
busybox mkdir -p /root/proc /root/sys /root/dev /root/etc /root/run
busybox mkdir -p -m 1777 /root/tmp
echo root:x:0:0:root:/:/bin/sh > /root/etc/passwd
echo nobody:x:65534:65534:nobody:/:/bin/false >> /root/etc/passwd
echo root:x:0: > /root/etc/group
echo nogroup:x:65534: >> /root/etc/group
echo > /root/etc/resolv.conf
{trees}
{links}"""
_TREE = """busybox mkdir -p /root{path}
busybox mount -t 9p -o {options} {tag} /root{path} || fail {path}": it does not mount\""""

# The class code of an NVMe controller is 01 08 02 (PCI Code and ID Assignment, 1.2).
_BIND_NVME = """for device in /sys/bus/pci/devices/*; do
    [ "$(busybox cat "$device/class")" = 0x010802 ] || continue
    echo vfio-pci > "$device/driver_override"
    echo "${device##*/}" > /sys/bus/pci/drivers_probe
    [ -e "$device/driver" ] || fail "$device: vfio-pci does not take it"
done"""

# QEMU's own network: its host is .2, and its name server .3. To QEMU .2 is the caller's loopback,
# so nobody inside may go there unless that is asked for: as a gateway it is of use all the same. A
# caller's file that is no file at all, or leads nowhere, stays as it is. Anyone may ping, as
# systemd has it.
_NETWORK = """busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up || fail "no network"
busybox route add default gw 10.0.2.2
{loopback}
echo nameserver 10.0.2.3 > /resolv.conf
busybox mount -o bind /resolv.conf /root/etc/resolv.conf
echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"""


_NO_LOOPBACK = 'busybox route add -host 10.0.2.2 reject || fail "the caller is not kept apart"'


def boot_archive(
    *,
    python: str,
    package_parent: str,
    trees: Sequence[str],
    links: Mapping[str, str] | None = None,
    vfio: bool,
    network: bool,
    host_loopback: bool = False,
) -> bytes:
    """The archive to append to the cached one: /init for this boot.

    `python` and `package_parent` (the directory that holds the package vestige) are paths on the
    caller's file system, `trees` directories that won't change while the host is up. With `links`,
    names at the root and where they lead, the software host has those alone, and `trees`. With
    `host_loopback` the network's 10.0.2.2 is the caller's loopback.
    """
    script = _SCRIPT.format(
        tolerance=_TSC_TOLERANCE,
        lists="base" + " vfio" * vfio + " network" * network,
        root=_whole(trees) if links is None else _apart(trees, links),
        vfio=_BIND_NVME if vfio else "",
        network=_NETWORK.format(loopback="" if host_loopback else _NO_LOOPBACK) if network else "",
        package_parent=shlex.quote(package_parent),
        python=shlex.quote(python),
    )
    archive = Archive()
    archive.file("init", script.encode(), executable=True)
    return archive.finish()


def _whole(trees: Sequence[str]) -> str:
    return _WHOLE.format(
        live=LIVE_TAG,
        live_options=f"{_TRANSPORT},cache=mmap",
        cached=CACHED_TAG,
        cached_options=_READ_ONLY,
        trees=" ".join(shlex.quote(tree) for tree in trees),
    )


def _apart(trees: Sequence[str], links: Mapping[str, str]) -> str:
    mounts = [
        _TREE.format(path=shlex.quote(tree), options=_READ_ONLY, tag=TREE_TAG.format(number))
        for number, tree in enumerate(trees)
    ]
    made = [
        f"busybox ln -s {shlex.quote(target)} /root/{shlex.quote(name)}"
        for name, target in links.items()
    ]
    return _APART.format(trees="\n".join(mounts), links="\n".join(made))
