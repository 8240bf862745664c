"""The other side of the guest's network interface: passt, or a tap that is there already.

The monitor moves the frames itself, through one of the ring's fixed files.

Threats. passt gets the guest's frames from the monitor; it is a process of its own without
privileges, which puts itself into namespaces of its own. The monitor's reads and writes reach this
one socket, or this one tap's file, and nothing else of the network. passt connects from the host,
so it is told what the guest may reach there: not the host's loopback, unless the user asks for it.
The passt of Debian 12 takes a frame to 127.0.0.1 itself at its word; the device drops those.
"""

import os
import select
import signal
from _collections_abc import Sequence

from vestige import abi
from vestige.errors import UsageError
from vestige.host.messages import tell
from vestige.host.options import HOST_LOOPBACK, TAP, NetOption

PASST = "passt"
NO_LOOPBACK = "--no-map-gw"  # else the gateway's address is the host's loopback
RESOLVERS = "/etc/resolv.conf"  # resolv.conf(5)
UPLINKS = "/run/systemd/resolve/resolv.conf"  # whom systemd-resolved, at 127.0.0.53, asks itself
# Where the guest finds the host's name server that is on the host's loopback: link-local, so it is
# nobody's in the network.
FORWARDER = "169.254.1.1"
MOST_SERVERS = 3  # as many as the resolver of the C library takes
PASST_MTU = 65_520  # what passt tells by DHCP unless asked otherwise
SOCKET_BUFFER = 1 << 20  # bytes; the kernel gives what net.core.wmem_max allows
PASST_SOCKET = 3  # its descriptor
MAC_OF_USER = bytes.fromhex("525400123456")  # nobody else is on that network
MAC_PREFIX = bytes.fromhex("525400")

# linux/if_tun.h
TUN = "/dev/net/tun"
TUNSETIFF = 0x4004_54CA
TUNSETOFFLOAD = 0x4004_54D0
TUNSETVNETHDRSZ = 0x4004_54D8
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x100, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 0x1, 0x2, 0x4
HEADER_SIZE = 12  # virtio's
INTERFACES = "/sys/class/net"


class Network:
    """An open interface: the files the monitor reads and writes, one for each pair of queues."""

    def __init__(
        self, backend: abi.NetBackend, descriptors: Sequence[int], mac: bytes, mtu: int
    ) -> None:
        self.backend, self.descriptors, self.mac, self.mtu = backend, descriptors, mac, mtu

    def describe(self, net: abi.Net, file: int) -> None:
        """Fill in what the monitor is told; `file` is the first's number among the ring's files."""
        net.backend = self.backend
        net.mtu = self.mtu
        net.pairs = len(self.descriptors)
        for number in range(len(self.descriptors)):
            net.files[number] = file + number
        for index, byte in enumerate(self.mac):
            net.mac[index] = byte

    def waits_for(self) -> dict[int, int]:
        """Descriptors this process must watch, each with its poll events."""
        return {}

    def serve(self, ready: dict[int, int]) -> None:
        """Do what the poll events in `ready`, descriptor to events, ask for."""

    def renew(self) -> None:
        """The guest starts anew: nothing of what the last one was sent and had not taken stays.

        A tap has no such thing but for a frame, which its old reader may still take.
        """

    def close(self) -> None:
        """End it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Passt(Network):
    """A passt of our own. It ends with its socket, so with this process however that ends."""

    def __init__(self, mac: bytes, host_loopback: bool = False) -> None:
        """Start passt, for a guest of that MAC. With `host_loopback` the guest's gateway is the
        host's loopback address. Raises UsageError where there is no passt.
        """
        self._words = [] if host_loopback else [NO_LOOPBACK, *name_servers()]
        super().__init__(abi.NetBackend.STREAM, [self._start()], mac, PASST_MTU)

    def _start(self) -> int:
        """Start passt; our end of its socket."""
        import socket  # noqa: PLC0415 - few runs need it

        program = find_passt()
        self._socket, far = socket.socketpair()
        # passt drops what finds no room, and looks again after 2 s: as much as anyone may have.
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        self._complaints = os.memfd_create("passt's complaints")
        with far:
            self._pid: int | None = os.posix_spawn(
                program,
                [PASST, "--foreground", "--quiet", "--fd", str(PASST_SOCKET), *self._words],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, self._complaints, 1),
                    (os.POSIX_SPAWN_DUP2, self._complaints, 2),
                    (os.POSIX_SPAWN_DUP2, far.fileno(), PASST_SOCKET),
                    *((os.POSIX_SPAWN_CLOSE, each) for each in _inherited()),
                ],
                setpgroup=0,  # a terminal's Ctrl-C is not for it
            )
        self._watch: int | None = os.pidfd_open(self._pid)
        return self._socket.fileno()

    def waits_for(self) -> dict[int, int]:
        """passt's end."""
        return {} if self._watch is None else {self._watch: select.POLLIN}

    def serve(self, ready: dict[int, int]) -> None:
        """Say that passt has ended; the monitor finds out by itself."""
        if self._watch not in ready or self._pid is None or self._watch is None:
            return
        _, status = os.waitpid(self._pid, 0)
        self._pid = None
        os.close(self._watch)
        self._watch = None
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        tell(f"passt has ended ({how}): the guest's network is down{self._last_words()}")

    def _last_words(self) -> str:
        """The last line passt wrote, if any, printable."""
        size = os.fstat(self._complaints).st_size
        text = os.pread(self._complaints, 4096, max(size - 4096, 0)).decode(errors="replace")
        lines = [line for line in text.splitlines() if line and "syslog" not in line]
        last = lines[-1] if lines else ""
        words = "".join(each if each.isprintable() else "?" for each in last)
        return f"; passt says: {words[:200]}" if words else ""

    def renew(self) -> None:
        """A new passt: the old one may be in the middle of a frame."""
        self.close()
        self.descriptors = [self._start()]

    def close(self) -> None:
        """End passt: our process by its number, which is its own until it is waited for."""
        pid, self._pid = self._pid, None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if self._watch is not None:
            os.close(self._watch)
            self._watch = None
        self._socket.close()
        if self._complaints >= 0:
            os.close(self._complaints)
            self._complaints = -1


def _inherited() -> list[int]:
    """Descriptors of the caller's that a program would get, and passt is not to have."""
    numbers = map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib is slow to import
    return [each for each in numbers if each > PASST_SOCKET and _is_inherited(each)]


def _is_inherited(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # that of the list itself
        return False


def find_passt() -> str:
    """passt's path. Raises UsageError where there is none."""
    import shutil  # noqa: PLC0415 - few runs need it

    program = shutil.which(PASST)
    if program is None:
        raise UsageError("--net user: passt not found; install it: sudo apt install passt")
    return program


def open_network(asked: NetOption, cpus: int = 1) -> Network:
    """What `--net` asks for. Raises UsageError saying what is wrong with it."""
    if asked.way.startswith(TAP):
        return open_tap(asked, cpus)
    return Passt(mac_of(asked), asked.way == HOST_LOOPBACK)


def name_servers(resolvers: str = RESOLVERS, uplinks: str = UPLINKS) -> list[str]:
    """passt's words for a host whose name server is on its loopback, where the guest can't ask it.

    The guest is told whom systemd-resolved asks. Of another, passt forwards the questions alone;
    that of Debian 12 does not tell the guest where.
    """
    found = _servers(resolvers)
    if not found or not all(map(_is_loopback, found)):
        return []
    others = [each for each in _servers(uplinks) if not _is_loopback(each) and "%" not in each]
    if others:
        return [word for each in others[:MOST_SERVERS] for word in ("--dns", each)]
    return ["--dns-forward", FORWARDER]


def _servers(path: str) -> list[str]:
    """The name servers of a resolv.conf(5); none where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            lines = [line.split() for line in file]
    except OSError:
        return []
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def open_tap(asked: NetOption, cpus: int = 1, interfaces: str = INTERFACES) -> Network:
    """A tap that exists. Its frames come with virtio's header, checksums and cutting left to us.

    One that was made with `multi_queue` has a pair of queues for each of the guest's CPUs.
    """
    name = asked.way.removeprefix(TAP)
    folder = f"{interfaces}/{name}"
    if not os.path.exists(folder):  # noqa: PTH110 - pathlib is slow to import
        raise UsageError(
            f"--net tap:{name}: no such interface; make it: sudo ip tuntap add {name} mode tap"
            f" user {os.getuid()}; sudo ip link set {name} up"
        )
    flags = int(_attribute(folder, "tun_flags") or "0", 16)
    if not flags & IFF_TAP:
        raise UsageError(f"--net tap:{name}: not a tap; give one made by `ip tuntap add mode tap`")
    pairs = min(cpus, abi.MAX_NET_PAIRS) if flags & IFF_MULTI_QUEUE else 1
    wanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags & IFF_MULTI_QUEUE
    descriptors: list[int] = []
    try:
        for _ in range(pairs):
            # Without O_NONBLOCK Linux before 6.4 gives each operation of the ring to a thread of
            # its own, since a tap does not say that it can do without: slow, and frames change
            # places.
            descriptors.append(os.open(TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
            _configure(descriptors[-1], name, wanted)
    except OSError as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise UsageError(f"--net tap:{name}: {_refusal(name, error)}") from error
    mtu = int(_attribute(folder, "mtu") or 0)
    mac = mac_of(asked, interfaces)
    return Network(abi.NetBackend.TAP, descriptors, mac, mtu if mtu < 1 << 16 else 0)


def mac_of(asked: NetOption, interfaces: str = INTERFACES) -> bytes:
    """The address that the guest's interface has: as asked for, or by the tap that there is."""
    if asked.mac is not None:
        return asked.mac
    if not asked.way.startswith(TAP):
        return MAC_OF_USER
    tap = _attribute(f"{interfaces}/{asked.way.removeprefix(TAP)}", "address")
    return MAC_PREFIX + bytes.fromhex((tap or "00:00:00:00:00:00").replace(":", ""))[3:6]


def _configure(descriptor: int, name: str, flags: int) -> None:
    """Attach to the tap, or to one more of its queues, and settle the form of its frames."""
    import fcntl  # noqa: PLC0415 - few runs need these
    import struct  # noqa: PLC0415

    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, struct.pack("i", HEADER_SIZE))
    fcntl.ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)


def _attribute(folder: str, name: str) -> str | None:
    """A line of an interface's folder in sysfs; None: it has no such."""
    try:
        with open(f"{folder}/{name}", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return None


def _refusal(name: str, error: OSError) -> str:
    """Why the tap can't be had, and what to do."""
    import errno  # noqa: PLC0415

    if error.errno == errno.ENOENT:
        return f"there is no {TUN}; as root: modprobe tun"
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"{error.strerror}; give it to yourself: sudo ip tuntap del {name} mode tap;"
            f" sudo ip tuntap add {name} mode tap user {os.getuid()}"
        )
    if error.errno == errno.EBUSY:
        return "in use by another program; end that one first"
    return f"{error.strerror}; give a tap made by `ip tuntap add mode tap`"
