"""What one run of a guest is asked to be, and how the command line's words for it are read.

Every parser here raises UsageError with what was found and what was expected.
"""

from vestige.bounds import (
    CHUNK,
    DEFAULT_MEMORY,
    MAX_CPUS,
    MAX_DISKS,
    MAX_FLOPPIES,
    MAX_PORTS,
    MAXIMUM_MEMORY,
    MIB,
    MINIMUM_MEMORY,
    PORT_NAME_SIZE,
)
from vestige.errors import UsageError
from vestige.host.clock import Rtc
from vestige.host.numbers import plain

TYPE_CHECKING = False  # as typing has it, which takes 3 ms to import on the way to every run

if TYPE_CHECKING:
    from vestige.host.viewer.option import DisplayOption

IDE, VIRTIO = "ide", "virtio"
RINGS = ("auto", "kick", "poll")
BUSES = (VIRTIO, IDE)
FLOPPY = "floppy"  # the bus of --floppy
EMPTY = "none"  # --floppy, --cdrom: a drive without a disk
UNMAP = "unmap"  # discard=: a guest's discards become holes in the image
DISCARDS = (UNMAP, "ignore")
RAW = "raw"  # format=: an image isn't asked whether it is raw
TEMPORARY = "temporary"  # overlay=: a file that ends with the run
STDIO, SOCKET = "stdio", "unix:"  # what a console is connected to; else a file
NOWHERE = "/dev/null"
UART = "uart"  # the other device a console may be; VIRTIO is one
EARLY = "early"
NAMED_PORTS = MAX_PORTS - 1  # at most: all but the console itself
AGENT_PORT = "org.qemu.guest_agent.0"  # where every distribution's guest agent listens
USER, TAP = "user", "tap:"  # --net
HOST_LOOPBACK = "user,host-loopback"  # the same, and the gateway is this host's loopback
MAC, MAC_KEPT = ",mac=", "keep"  # the guest's address, behind any of these; at a thaw, that it had
MAC_SIZE = 6  # bytes
_HEXADECIMAL = "0123456789abcdefABCDEF"
LONGEST_INTERFACE = 15  # characters of a network interface's name
ACCELERATORS = ("auto", "kvm", "soft")
IDE_IN_MEMORY = "memory"
IDE_PLACES = ("ports", IDE_IN_MEMORY)
MACHINES = MODERN, PC = "modern", "pc"
BIOS, UEFI = "bios", "uefi"  # --firmware: Debian's SeaBIOS, Debian's OVMF
FIRMWARES = {
    BIOS: "/usr/share/seabios/bios-256k.bin",
    UEFI: "/usr/share/OVMF/OVMF_CODE_4M.fd",
}
CODE, VARIABLES = "CODE", "VARS"  # in the names of a UEFI firmware, and of its variables' template
VGAS = VGA_STD, VGA_NONE = "std", "none"
VGA_BIOS = "/usr/share/seabios/vgabios-stdvga.bin"
REBOOTS = ("exit", "restart")
JAILS = JAIL_ON, JAIL_REQUIRED, JAIL_OFF = "on", "require", "off"
_SIZES = {"": MIB} | {
    unit + more: 1 << 10 * power
    for power, unit in enumerate("KMGT", start=1)
    for more in ("", "B", "IB")
}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TIMES = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}  # units of a timeout, in seconds
LONGEST_TIMEOUT = 1e9  # seconds
CONTROLLER = "vfio:"
LONGEST_NAME = 64  # characters of a run's name


class NamedValues:
    """Named values, equal by value. typing.NamedTuple, without the time it takes to import."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal."""
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        """As equal values have it."""
        return hash(self._values())

    def __repr__(self) -> str:
        """The class and the values."""
        return f"{type(self).__name__}{self._values()}"

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)


class DiskOption(NamedValues):
    """One `--disk`: a raw image file, a block device, or vfio: and an NVMe's PCI address; or one
    `--cdrom`, which `is_optical`: an image of a disc, or no path where there is none in the drive.

    Or one `--floppy`, whose bus is FLOPPY; without a disk in the drive the path is empty.

    `discard`: the guest may give back sectors of an image, which lets its file shrink. `raw`: the
    image is taken as raw whatever it looks like. `overlay`: the file that has what the guest
    writes, or TEMPORARY; None: the image has.
    """

    __slots__ = ("bus", "discard", "is_optical", "overlay", "path", "raw", "read_only")

    def __init__(
        self,
        path: str,
        bus: str = VIRTIO,
        read_only: bool = False,
        discard: bool = False,
        raw: bool = False,
        is_optical: bool = False,
        overlay: str | None = None,
    ) -> None:
        self.path = path
        self.is_optical, self.overlay = is_optical, overlay
        self.bus = bus
        self.read_only = read_only
        self.discard = discard
        self.raw = raw

    @property
    def words(self) -> str:
        """The option that asked for it."""
        if self.is_optical:
            return f"--cdrom {self.path or EMPTY}"
        return f"--floppy {self.path or EMPTY}" if self.bus == FLOPPY else f"--disk {self.path}"

    @property
    def overlay_words(self) -> str:
        """What asks for the overlay."""
        return f"{self.words}: overlay={self.overlay}"

    @property
    def controller(self) -> str | None:
        """The NVMe controller's address, domain:bus:device.function; None: it is a path."""
        if self.is_optical:
            return None
        return self.path.removeprefix(CONTROLLER) if self.path.startswith(CONTROLLER) else None


class ConsoleOption(NamedValues):
    """`--console`: what it is connected to, and which device the guest finds.

    `early`: what the guest sends to its serial port goes there too.
    """

    __slots__ = ("backend", "device", "early")

    def __init__(self, backend: str = STDIO, device: str = UART, early: bool = False) -> None:
        self.backend, self.device, self.early = backend, device, early


class PortOption(NamedValues):
    """One `--port`: its name in the guest, and what it is connected to."""

    __slots__ = ("backend", "name")

    def __init__(self, name: str, backend: str) -> None:
        self.name, self.backend = name, backend


class NetOption(NamedValues):
    """`--net`. `way`: USER, HOST_LOOPBACK or tap:NAME. `mac`: the address of the guest's interface,
    MAC_SIZE bytes; None: as its way has it.
    """

    __slots__ = ("mac", "way")

    def __init__(self, way: str, mac: bytes | None = None) -> None:
        self.way, self.mac = way, mac

    @property
    def words(self) -> str:
        """What asks for it."""
        return self.way if self.mac is None else f"{self.way}{MAC}{self.mac.hex(':')}"


class JailOption(NamedValues):
    """`--jail`: one of JAILS, and whose the machine's process is to be, in which control group.

    `user`, `cgroup`: None: the caller's.
    """

    __slots__ = ("cgroup", "mode", "user")

    def __init__(
        self, mode: str = JAIL_ON, user: str | None = None, cgroup: str | None = None
    ) -> None:
        self.mode, self.user, self.cgroup = mode, user, cgroup

    @property
    def is_on(self) -> bool:
        """Whether there is a jail."""
        return self.mode != JAIL_OFF


class RunOptions(NamedValues):
    """One `vestige run`. Units: `memory` bytes, `timeout` seconds; `ide` is one of IDE_PLACES.

    `net`: the network interface, None: none; `entropy`: a virtio entropy device; `tablet`: a
    virtio tablet; `devices`: those of vestige.devices that have an option which was given, by their
    fields; `stats`: where to write the statistics; `floppies`: drive A's and drive B's, of which
    those with a disk are among `disks`, last, too; `on_reboot`, one of REBOOTS, what a reset by the
    guest does; `ring`, one of RINGS, who takes the entries of the io_uring; `machine`: one of
    MACHINES; `firmware`: one of FIRMWARES, or a path, with which a guest starts without a `kernel`,
    or before it; `variables`: the path of a UEFI firmware's; `rtc`: what a PC's clock shows, None:
    UTC; `vga`: one of VGAS, None: what the machine has by itself; `name`: the run's, None: its
    process's number; `keys`: where the events of keyboard, mouse and tablet come from, too;
    `cdrom`, a drive for discs, is one of the `disks`, behind those of `--disk`; `display`: where
    the screen is shown; `agent`: the last of the `ports` is the guest agent's.
    """

    __slots__ = (
        "accel", "agent", "agent_path", "append", "console", "cpus", "devices", "disks",
        "display", "entropy", "firmware", "floppies", "ide",
        "initrd", "jail", "kernel", "keys", "machine", "memory", "name", "net", "on_reboot",
        "ports", "ring", "rtc", "stats", "tablet", "timeout", "variables", "vga",
    )  # fmt: skip

    def __init__(
        self,
        kernel: str | None = None,
        *,
        initrd: str | None = None,
        append: str = "",
        memory: int = DEFAULT_MEMORY,
        cpus: int = 1,
        disks: tuple[DiskOption, ...] = (),
        floppies: tuple[DiskOption, ...] = (),
        console: ConsoleOption = ConsoleOption(),  # noqa: B008 - never changed
        ports: tuple[PortOption, ...] = (),
        entropy: bool = False,
        net: NetOption | None = None,
        timeout: float | None = None,
        stats: str | None = None,
        accel: str = "auto",
        ide: str = "ports",
        on_reboot: str = "exit",
        devices: tuple[str, ...] = (),
        ring: str = "auto",
        jail: JailOption = JailOption(),  # noqa: B008 - never changed
        machine: str = MODERN,
        firmware: str | None = None,
        variables: str | None = None,
        rtc: Rtc | None = None,
        vga: str | None = None,
        name: str | None = None,
        keys: str | None = None,
        cdrom: DiskOption | None = None,
        display: "DisplayOption | None" = None,
        tablet: bool = False,
        agent: bool = False,
    ) -> None:
        self.name, self.keys, self.tablet, self.display = name, keys, tablet, display
        self.machine, self.firmware, self.rtc, self.vga = machine, firmware, rtc, vga
        self.variables = variables
        self.kernel, self.initrd, self.append = kernel, initrd, append
        self.memory, self.cpus, self.floppies = memory, cpus, floppies
        drives = () if cdrom is None else (cdrom,)
        self.disks = (*disks, *drives, *(floppy for floppy in floppies if floppy.path))
        self.console, self.entropy, self.agent = console, entropy, agent
        self.agent_path: str | None = None
        # Its socket is the control's, which says where once there is one: see `place_agent`.
        self.ports = (*ports, PortOption(AGENT_PORT, SOCKET)) if agent else ports
        self.net = net
        self.timeout, self.stats, self.accel = timeout, stats, accel
        self.ide = ide
        self.on_reboot, self.devices, self.ring = on_reboot, devices, ring
        self.jail = jail

    def place_agent(self, path: str) -> None:
        """Have the guest agent's socket there."""
        self.agent_path = path
        self.ports = (*self.ports[:-1], PortOption(AGENT_PORT, f"{SOCKET}{path}"))

    @property
    def drive(self) -> int | None:
        """Which of the disks is the drive for discs."""
        found = [number for number, disk in enumerate(self.disks) if disk.is_optical]
        return found[0] if found else None

    @property
    def has_events(self) -> bool:
        """Whether there is something to type at, or to point at."""
        return self.machine == PC or self.tablet

    @property
    def has_vga(self) -> bool:
        """Whether there is a VGA."""
        return self.machine == PC and self.vga != VGA_NONE

    @property
    def vga_bios(self) -> str | None:
        """The path of a VGA's BIOS, if there is a VGA, and no UEFI. A kernel has but the font."""
        return VGA_BIOS if self.has_vga and not self.is_uefi else None

    @property
    def is_uefi(self) -> bool:
        """Whether the firmware is known for a UEFI one."""
        return self.firmware == UEFI or self.variables is not None

    @property
    def variables_template(self) -> str | None:
        """Where what a UEFI firmware's variables are at first would be, by Debian's names."""
        if self.firmware is None:
            return None
        folder, slash, name = self.start[1].rpartition("/")
        if CODE not in name:
            return None
        return f"{folder}{slash}{name.replace(CODE, VARIABLES)}"

    @property
    def by_firmware(self) -> bool:
        """Whether the guest starts from a firmware, which may start a kernel."""
        return self.firmware is not None or self.kernel is None

    @property
    def start(self) -> tuple[str, str]:
        """The option and the path of what the guest starts from."""
        if self.kernel is not None and not self.by_firmware:
            return "--kernel", self.kernel
        name = self.firmware or BIOS
        return "--firmware", FIRMWARES.get(name, name)


def parse_memory(text: str, least: int = MINIMUM_MEMORY, who: str = "a guest") -> int:
    """Bytes of `text`: a number and K, M, G or T, or these with B or iB; without one it is MiB.

    `who` has `least` bytes or more.
    """
    number, unit = _number_and_unit(text)
    whole, _, fraction = number.partition(".")
    try:
        size = int(plain(whole + fraction)) * _SIZES[unit.upper()]  # of tenths
    except (KeyError, ValueError):
        raise UsageError(
            f"--memory {text}: not a size; give a number and K, M or G, like 512M"
        ) from None
    tenths: int = 10 ** len(fraction)
    if not least * tenths <= size <= MAXIMUM_MEMORY * tenths:
        raise UsageError(f"--memory {text}: {who} has {least >> 20}M to {MAXIMUM_MEMORY >> 30}G")
    chunks = -(-size // (CHUNK * tenths))
    if size != chunks * CHUNK * tenths:
        raise UsageError(
            f"--memory {text}: not a multiple of {CHUNK >> 20}M; give {chunks * CHUNK >> 20}M"
        )
    return chunks * CHUNK


def _number_and_unit(text: str) -> tuple[str, str]:
    """What stands before the letters at the end of `text`, and these."""
    number = text.rstrip(_LETTERS)
    return number.rstrip(" "), text[len(number) :]


def parse_cpus(text: str) -> int:
    """The number of virtual CPUs in `text`."""
    try:
        cpus = int(plain(text))
    except ValueError:
        cpus = 0
    if not 1 <= cpus <= MAX_CPUS:
        raise UsageError(f"--cpus {text}: give a number from 1 to {MAX_CPUS}")
    return cpus


def parse_net(words: list[str]) -> NetOption | None:
    """The one network interface: "user[,host-loopback]" or "tap:NAME", and ",mac=" and a MAC behind
    it; None: there is none.
    """
    if not words:
        return None
    if len(words) > 1:
        raise UsageError(f"{len(words)} times --net: a guest has one network interface; give one")
    (text,) = words
    way, comma, mac = text.rpartition(MAC) if MAC in text else (text, "", "")
    name = way.removeprefix(TAP)
    if way.startswith(TAP):
        if not 0 < len(name) <= LONGEST_INTERFACE or not name.isascii() or not name.isprintable():
            raise UsageError(f"--net {text}: a tap's name has 1 to {LONGEST_INTERFACE} characters")
        if "/" in name or " " in name or name in (".", ".."):
            raise UsageError(f"--net {text}: {name!r} can't be an interface's name")
    elif way.startswith(f"{USER},") and way != HOST_LOOPBACK:
        word = way.removeprefix(f"{USER},")
        raise UsageError(f"--net {text}: unknown option {word!r}; there are host-loopback and mac=")
    elif way not in (USER, HOST_LOOPBACK):
        raise UsageError(f"--net {text}: give user (passt) or tap:NAME")
    return NetOption(way, _parse_mac(text, mac) if comma else None)


def _parse_mac(text: str, mac: str) -> bytes:
    """The address `mac` in the words `text` of --net: one interface's, so bit 0 of its first byte
    is clear. IEEE 802, 8.2.
    """
    if mac == MAC_KEPT:
        raise UsageError(
            f"--net {text}: a guest that starts has none to keep; give a MAC, or leave mac= out"
        )
    pairs = mac.split(":")
    is_mac = [len(pair) for pair in pairs] == [2] * MAC_SIZE and set(mac) <= {*_HEXADECIMAL, ":"}
    address = bytes.fromhex("".join(pairs)) if is_mac else bytes(MAC_SIZE)
    if address[0] & 1 or not any(address):
        raise UsageError(
            f"--net {text}: {mac!r} is no interface's MAC; give one like 52:54:00:12:34:56, whose"
            f" first byte is even, or {MAC_KEPT} at a thaw"
        )
    return address


def parse_timeout(text: str, option: str = "--timeout") -> float:
    """The seconds in `text`: a positive number, of seconds unless one of TIMES is behind it."""
    number, unit = _number_and_unit(text)
    try:
        seconds = float(plain(number)) * TIMES[unit.lower()]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < LONGEST_TIMEOUT:
        raise UsageError(
            f"{option} {text}: give a time above 0 and below 30 years, in seconds, or like 10s, 5m"
            " or 2h"
        )
    return seconds


def parse_disk(text: str) -> DiskOption:
    """PATH[,bus=virtio|ide][,readonly][,discard=unmap|ignore][,format=raw][,overlay=FILE|temporary];
    a comma in PATH or FILE is written twice.

    PATH is also vfio:[DOMAIN:]BUS:DEVICE.FUNCTION; ./vfio:… and ./temporary are files of that name.
    """
    path, words = _path_and_words("--disk", text, "PATH[,bus=virtio|ide][,readonly]")
    controller = path.startswith(CONTROLLER)
    if controller:
        path = CONTROLLER + _pci_address(path.removeprefix(CONTROLLER), text)
    bus, read_only, discard, raw = VIRTIO, False, False, False
    overlay = None
    for word in words:
        name, equals, value = word.partition("=")
        if name == "overlay" and equals:
            if not value or overlay is not None:
                wrong = "no file" if not value else "two of them"
                raise UsageError(f"--disk {text}: overlay={value}: {wrong}; give overlay=FILE once")
            overlay = value.replace(",,", ",")
        elif name == "bus" and equals:
            if value not in BUSES:
                raise UsageError(f"--disk {text}: no bus {value!r}; there is: {', '.join(BUSES)}")
            bus = value
        elif name == "readonly" and not equals:
            read_only = True
        elif name == "discard" and value in DISCARDS:
            discard = value == UNMAP
        elif name == "format" and value:
            raw = _is_raw("--disk", text, path, value)
        else:
            known = (
                "bus=virtio|ide, readonly, discard=unmap|ignore, format=raw and"
                " overlay=FILE|temporary"
            )
            raise _unknown("--disk", text, word, known)
    if overlay is not None and (read_only or controller):
        reason = "a disk that is only read" if read_only else "a controller's disk"
        raise UsageError(f"--disk {text}: {reason} has no overlay; leave overlay={overlay} out")
    if discard and (read_only or controller):
        reason = "a drive that is only read" if read_only else "a controller discards by itself"
        raise UsageError(f"--disk {text}: {reason}; leave discard=unmap out")
    if raw and controller:
        raise UsageError(f"--disk {text}: a controller is no image; leave format=raw out")
    return DiskOption(path, bus, read_only, discard, raw, overlay=overlay)


def parse_floppy(text: str) -> DiskOption:
    """IMAGE[,readonly], or none: an empty drive; a comma in IMAGE is written twice."""
    if text == EMPTY:
        return DiskOption("", FLOPPY)
    path, words = _path_and_words("--floppy", text, "IMAGE[,readonly] or none")
    for word in words:
        if word != "readonly":
            raise _unknown("--floppy", text, word, "readonly")
    return DiskOption(path, FLOPPY, "readonly" in words)


def parse_cdrom(text: str, option: str = "--cdrom") -> DiskOption:
    """IMAGE[,format=raw], or none for a drive without a disc; a comma in IMAGE is written twice.

    ./none is a file of that name. `option` is what `text` stands behind, for messages.
    """
    if text == EMPTY:
        return DiskOption("", IDE, read_only=True, is_optical=True)
    path, words = _path_and_words(option, text, "an ISO image's, or none")
    raw = False
    for word in words:
        name, _, value = word.partition("=")
        if name != "format" or not value:
            raise _unknown(option, text, word, "format=raw")
        raw = _is_raw(option, text, path, value)
    return DiskOption(path, IDE, read_only=True, raw=raw, is_optical=True)


def parse_nvme(text: str) -> DiskOption:
    """IMAGE[,readonly][,format=raw], a software host's; a comma in IMAGE is written twice."""
    path, words = _path_and_words("--nvme", text, "IMAGE[,readonly][,format=raw]")
    read_only, raw = False, False
    for word in words:
        name, _, value = word.partition("=")
        if word == "readonly":
            read_only = True
        elif name == "format" and value:
            raw = _is_raw("--nvme", text, path, value)
        else:
            raise _unknown("--nvme", text, word, "readonly and format=raw")
    return DiskOption(path, read_only=read_only, raw=raw)


def _path_and_words(option: str, text: str, form: str) -> tuple[str, list[str]]:
    """An image's path, in which two commas are one, and the words behind it."""
    path, *words = text.replace(",,", "\0").split(",")
    if not path:
        raise UsageError(f"{option} {text}: no path; give {form}")
    return path.replace("\0", ","), [word.replace("\0", ",,") for word in words]


def _is_raw(option: str, text: str, path: str, form: str) -> bool:
    """Whether format=`form` was given as it may be."""
    if form != RAW:
        raise UsageError(
            f"{option} {text}: no format {form!r}; an image is raw, make it so: qemu-img convert"
            f" -O raw {path} {path}.raw"
        )
    return True


def _unknown(option: str, text: str, word: str, known: str) -> UsageError:
    return UsageError(
        f"{option} {text}: unknown option {word!r}; there are {known} (a comma in the path is"
        " written twice)"
    )


def parse_console(text: str) -> ConsoleOption:
    """[virtio[,early]:]stdio|FILE|unix:PATH; virtio alone is on stdio.

    ./virtio is a file of that name.
    """
    words, colon, backend = text.partition(":")
    device, *more = words.split(",")
    if device != VIRTIO:
        device, more, backend = UART, [], text
    elif not colon:
        backend = STDIO
    for word in more:
        if word != EARLY:
            raise UsageError(
                f"--console {text}: unknown option {word!r}; there is virtio,early"
                " (a file of that name is written ./virtio…)"
            )
    if not backend:
        raise UsageError(f"--console {text}: no name; give stdio, a file's path or unix:PATH")
    return ConsoleOption(backend, device, EARLY in more)


def parse_jail(text: str) -> JailOption:
    """[on|require|off][,uid=USER][,cgroup=PATH], in any order."""
    modes: list[str] = []
    named: dict[str, str] = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if name in JAILS and not equals:
            modes.append(name)
        elif name in ("uid", "cgroup") and value and name not in named:
            named[name] = value
        else:
            raise UsageError(
                f"--jail {text}: {word!r} means nothing here; there are {', '.join(JAILS)},"
                " uid=USER and cgroup=PATH, each once"
            )
    if len(modes) > 1:
        raise UsageError(f"--jail {text}: {modes[0]} and {modes[1]}; give one of them")
    mode = modes[0] if modes else JAIL_ON
    if named and mode == JAIL_OFF:
        raise UsageError(f"--jail {text}: without a jail there is no {next(iter(named))}")
    return JailOption(mode, named.get("uid"), named.get("cgroup"))


def parse_name(text: str) -> str:
    """A run's name: what may be a file's, and no process's number."""
    if is_name(text) and not text.isdigit():
        return text
    if is_name(text):
        raise UsageError(
            f"--name {text}: digits alone are the name that a run has without --name, its process's"
            " number; give a name with a letter"
        )
    raise UsageError(
        f"--name {text}: give 1 to {LONGEST_NAME} letters, digits, and . _ -, with a letter or"
        " a digit first"
    )


def parse_keys(text: str) -> str:
    """unix:PATH, or a file's path."""
    if not text.removeprefix(SOCKET):
        raise UsageError(f"--keys {text}: no name; give unix:PATH or a file's path")
    return text


def is_name(text: str) -> bool:
    """Whether a run may have this name, given or not."""
    plain = text.isascii() and text.replace(".", "").replace("-", "").replace("_", "").isalnum()
    return plain and text[0].isalnum() and len(text) <= LONGEST_NAME


def parse_port(text: str) -> PortOption:
    """NAME=FILE or NAME=unix:PATH. A name is what may be a file's name under /dev/virtio-ports."""
    name, equals, backend = text.partition("=")
    if not (equals and backend):
        raise UsageError(f"--port {text}: give NAME=unix:PATH or NAME=FILE")
    plain = name.isascii() and name.replace(".", "").replace("-", "").replace("_", "").isalnum()
    if not plain or len(name) > PORT_NAME_SIZE:
        raise UsageError(
            f"--port {text}: {name!r} can't be a port's name; give 1 to {PORT_NAME_SIZE} letters,"
            " digits, and . _ -"
        )
    if backend == STDIO:
        raise UsageError(
            f"--port {text}: standard input and output are the console's; give unix:PATH or a"
            " file's path (./stdio is a file of that name)"
        )
    return PortOption(name, backend)


def _pci_address(words: str, text: str) -> str:
    """A PCI address as sysfs writes it, from what `lspci` shows."""
    import re  # noqa: PLC0415 - slow to import, and few runs name a controller

    pattern = r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])"
    match = re.fullmatch(pattern, words.lower())
    if match is None:
        raise UsageError(
            f"--disk {text}: {words!r} is not a PCI address; give vfio:BUS:DEVICE.FUNCTION as"
            " `lspci` shows it, like vfio:01:00.0"
        )
    return f"{match[1] or '0000'}:{match[2]}"


def check(options: RunOptions) -> None:
    """Refuse what no parser above can see: too many, or one thing twice."""
    if len(options.disks) > MAX_DISKS:
        raise UsageError(
            f"{len(options.disks)} disks: a guest has at most {MAX_DISKS}, on whichever bus; give"
            " fewer --disk"
            + (" or --floppy" if options.floppies else "")
            + ("" if options.drive is None else ", as --cdrom is one")
        )
    if len(options.floppies) > MAX_FLOPPIES:
        raise UsageError(
            f"{len(options.floppies)} times --floppy: a PC has at most {MAX_FLOPPIES} floppy"
            " drives; give fewer"
        )
    _check_start(options)
    if options.machine == PC and options.ide == IDE_IN_MEMORY:
        raise UsageError(
            f"--ide {IDE_IN_MEMORY}: a PC's IDE is at its ports; leave --ide or --machine {PC} out"
        )
    if options.floppies and options.machine != PC:
        raise UsageError(
            f"--floppy: a PC has floppy drives; give --machine {PC}, too, or leave --floppy out"
        )
    if options.keys is not None and not options.has_events:
        raise UsageError(
            f"--keys: a PC's keyboard, or a tablet; give --machine {PC} or --tablet, too, or leave"
            " --keys out"
        )
    if options.display is not None and not options.has_vga:
        raise UsageError(
            f"--display: a PC's screen; give --machine {PC} without --vga {VGA_NONE}, or leave"
            " --display out"
        )
    if options.display is not None and options.display.takes_terminal:
        if options.console.backend == STDIO:
            raise UsageError(
                "--display text: the terminal is the screen's; give the console another place, like"
                " --console FILE"
            )
    if options.rtc is not None and options.machine != PC:
        raise UsageError(f"--rtc: a PC's clock; give --machine {PC}, too, or leave --rtc out")
    controllers = [disk.controller for disk in options.disks if disk.controller is not None]
    for controller in controllers:
        if controllers.count(controller) > 1:
            raise UsageError(f"--disk vfio:{controller}: given twice; one drive has it alone")
    _check_ports(options)


def _check_start(options: RunOptions) -> None:
    """A kernel, or a PC's firmware."""
    if options.firmware is not None and options.machine != PC:
        raise UsageError(f"--firmware: a PC's; give --machine {PC}, too")
    if options.variables is not None and options.firmware in (None, BIOS):
        raise UsageError(
            f"--variables: a UEFI firmware's; give --firmware {UEFI}, too, or leave it out"
        )
    if options.is_uefi and options.kernel is not None:
        raise UsageError(f"--kernel: {UEFI} boots a disk; leave it out, or give --firmware {BIOS}")
    if options.vga is not None and options.machine != PC:
        raise UsageError(f"--vga: a PC's; give --machine {PC}, too")
    if not options.by_firmware:
        return
    if options.machine != PC:
        raise UsageError(
            f"--kernel: give one; or --machine {PC}, whose firmware boots the first disk"
        )
    if options.kernel is None and options.initrd is not None:
        raise UsageError("--initrd: a kernel's; give --kernel, too, or leave it out")
    if options.kernel is None and options.append:
        raise UsageError("--append: a kernel's; give --kernel, too, or leave it out")
    if options.kernel is None and not options.disks:
        raise UsageError(
            f"--machine {PC}: its firmware boots a disk; give --disk PATH, --cdrom IMAGE, --floppy"
            " IMAGE, or --kernel"
        )


def _check_ports(options: RunOptions) -> None:
    """Every port has a name and another side of its own, and there are not too many."""
    if options.agent and any(port.name == AGENT_PORT for port in options.ports[:-1]):
        raise UsageError(
            f"--port {AGENT_PORT}: the port of --agent, which listens in the control's folder; give"
            " one of the two"
        )
    if len(options.ports) > NAMED_PORTS:
        raise UsageError(
            f"{len(options.ports)} ports: there may be at most {NAMED_PORTS}; give fewer --port"
            + (", as --agent is one" if options.agent else "")
        )
    names = [port.name for port in options.ports]
    backends = [options.console.backend]
    for port in options.ports:
        if names.count(port.name) > 1:
            raise UsageError(f"--port {port.name}: given twice; give each port a name of its own")
        if port.backend in backends and port.backend != NOWHERE:
            raise UsageError(
                f"--port {port.name}={port.backend}: another console is connected there; give"
                " each its own"
            )
        backends.append(port.backend)
