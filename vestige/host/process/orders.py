"""All that the run's process tells the machine's before the guest is there: one message.

Its values are plain, and its descriptors are named by their places among those that come along. So
the machine's process may be a fork made long before, which has nothing of the run's.
"""

import marshal
import os
import time
from _collections_abc import Mapping, Sequence

from vestige import abi
from vestige.abi import Board, Bus
from vestige.host import buses, clock, options
from vestige.host.backends.ring import polls
from vestige.host.files.opening import Files
from vestige.host.process.link import Link
from vestige.lang.types import TYPE_CHECKING
from vestige.machine.config import MachineConfig
from vestige.machine.files import InputFile
from vestige.place import options_for, standard
from vestige.rows import ROWS

if TYPE_CHECKING:
    from typing import Any

    from vestige.host.backends.network import Network

Input = tuple[str, int, int]  # an InputFile's path, size, and start
# The order of descriptors: of what the guest starts from, of OTHERS that there are, the ring's.
FIRST = "start"
OTHERS = "initrd", "vga_bios", "kernel", "variables"


class Orders:
    """What a machine is to be. Once it is in that process, `descriptors` are its own.

    `config`: an abi.Config as far as it follows from what the user asked for; `holes`: first sector
    and sectors of the disks in those of the ring's files, by their numbers, in which holes may be
    made; `maps`: of overlays' files, by their numbers, with address and bytes of the map;
    `largest`: the length in bytes that no file is to exceed; `controllers`: addresses of NVMes by
    VFIO; `state_size`: how many bytes of a domain's STATE its ring has; `insists`: it is an error
    if a ring can't be as `polled` says; `start`: a kernel, or a `firmware`, which may have a
    `kernel` to start; `vga_bios`: a VGA's, if any; `variables`: a UEFI firmware's; `counts`:
    statistics are wanted; `restarts`: how many machines of this run were before; `group`: an option
    and a path, see jail/cgroup.py; `user`: see jail/user.py; `shows`: so many descriptors, the
    last, are of what a viewer sees, see viewer/memory.py; `thaws`: those before are the
    parts of a frozen machine with which it goes on, by their numbers in freeze/parts.py; `jumps`:
    its clocks are to show the time that it is.
    """

    __slots__ = (
        "append", "board", "config", "controllers", "counts", "cpus", "descriptors", "devices",
        "domains", "firmware", "group", "holes", "ide_in_memory", "initrd", "insists", "jail",
        "jumps", "kernel", "largest", "maps", "memory", "polled", "restarts", "shows", "start",
        "state_size", "thaws", "user", "variables", "vga_bios",
    )  # fmt: skip

    def __init__(
        self,
        *,
        memory: int,
        cpus: int,
        devices: tuple[str, ...],
        board: int,
        domains: int,
        start: Input | None,
        firmware: bool,
        initrd: Input | None,
        vga_bios: Input | None,
        kernel: Input | None,
        variables: Input | None,
        append: str,
        config: bytes,
        holes: Mapping[int, tuple[int, int]],
        maps: tuple[tuple[int, int, int], ...],
        largest: int,
        controllers: tuple[str, ...],
        state_size: int,
        polled: bool,
        insists: bool,
        ide_in_memory: bool,
        counts: bool,
        jail: str,
        restarts: int = 0,
        user: tuple[int, int] | None = None,
        group: tuple[str, str] | None = None,
        shows: int = 0,
        thaws: tuple[int, ...] = (),
        jumps: bool = False,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.thaws, self.jumps = thaws, jumps
        self.memory, self.cpus, self.devices, self.domains = memory, cpus, devices, domains
        self.board = board
        self.start, self.firmware = start, firmware
        self.initrd, self.vga_bios, self.append = initrd, vga_bios, append
        self.kernel, self.variables = kernel, variables
        self.config, self.holes, self.maps, self.largest = config, holes, maps, largest
        self.controllers, self.state_size = controllers, state_size
        self.polled, self.insists, self.ide_in_memory = polled, insists, ide_in_memory
        self.counts, self.jail, self.user, self.group = counts, jail, user, group
        self.restarts, self.shows, self.descriptors = restarts, shows, descriptors

    def send(self, link: Link) -> None:
        """Send them. Raises OSError."""
        link.send_orders(marshal.dumps(self._values()), self.descriptors)

    def over(self, descriptors: Sequence[int]) -> "Orders":
        """The same over these descriptors."""
        return Orders(**self._values(), descriptors=descriptors)

    def are_as(self, others: "Orders") -> bool:
        """Whether a machine is the same by both, but for its descriptors and what no two have."""
        own, its = self._values(), others._values()
        own["config"], its["config"] = _shape(self.config), _shape(others.config)
        return own == its and len(self.descriptors) == len(others.descriptors)

    def _values(self) -> "dict[str, Any]":
        return {name: getattr(self, name) for name in self.__slots__ if name != "descriptors"}

    @property
    def files(self) -> Sequence[int]:
        """The ring's."""
        inputs = sum(getattr(self, name) is not None for name in (FIRST, *OTHERS))
        return self.descriptors[inputs : len(self.descriptors) - self.shows - len(self.thaws)]

    @property
    def frozen(self) -> Sequence[int]:
        """The parts of a frozen machine, if there is one."""
        end = len(self.descriptors) - self.shows
        return self.descriptors[end - len(self.thaws) : end]

    @property
    def shown(self) -> Sequence[int]:
        """Of what a viewer sees, if there is one."""
        return self.descriptors[-self.shows :] if self.shows else ()

    def input_files(self) -> dict[str, InputFile]:
        """What the guest starts from, FIRST, and those of OTHERS that there are; open."""
        places = iter(self.descriptors)
        said = {name: getattr(self, name) for name in (FIRST, *OTHERS)}
        return {name: _input(each, next(places)) for name, each in said.items() if each is not None}

    def close(self) -> None:
        """Close all descriptors but those of images in which holes may be made."""
        kept = [self.files[number] for number in self.holes]
        for descriptor in self.descriptors:
            if descriptor not in kept:
                os.close(descriptor)


def _shape(config: bytes) -> bytes:
    """Without what each machine has its own of."""
    shape = abi.Config.from_buffer_copy(config)
    shape.generation = type(shape.generation)()
    shape.date = type(shape.date)()
    shape.columns = shape.rows = 0
    return bytes(shape)


def received(link: Link) -> Orders | None:
    """Those that come; None: the other side has gone."""
    message = link.receive_orders()
    if message is None:
        return None
    data, descriptors = message
    values: dict[str, Any] = marshal.loads(data)
    return Orders(**values, descriptors=descriptors)


def _said(file: InputFile) -> Input:
    return file.path, file.size, file.start


def _input(said: Input, descriptor: int) -> InputFile:
    path, size, start = said
    return InputFile(path, descriptor, size, start)


def config_of(asked: options.RunOptions) -> MachineConfig:
    """The machine as its tables tell of it."""
    board = Board.PC if asked.machine == options.PC else Board.MODERN
    devices = standard(ROWS, board).union(asked.devices)
    if not asked.has_vga:
        devices -= {place.field for place in ROWS if place.displays}
    if not asked.floppies:
        devices -= {place.field for place in ROWS if place.disks == Bus.FLOPPY}
    return MachineConfig(cpus=asked.cpus, memory=asked.memory, devices=devices, board=board)


def orders(
    asked: options.RunOptions,
    opened: Files,
    *,
    entropy: int | None,
    network: "Network | None",
    machine: MachineConfig,
    domains: int,
    restarts: int,
    user: tuple[int, int] | None,
    group: tuple[str, str] | None,
    shown: Sequence[int] = (),
) -> Orders:
    """For a machine as `asked` for, over files that are open. `entropy`: a descriptor; `shown`:
    those of what a viewer sees.
    """
    config = abi.Config()
    files: list[int] = []
    holes = {}
    addresses = iter(_addresses(opened))
    maps = []
    for number, image in opened.disks.items():
        image.describe(config.disks[number], number, len(files))
        files.append(image.descriptor)
        if (overlay := image.overlay) is not None:
            address = next(addresses)
            overlay.describe(config.disks[number], len(files), address)
            maps.append((len(files), address, overlay.map_size))
            files.append(overlay.descriptor)
        if image.discard:
            first = 0 if overlay is None else overlay.start
            holes[len(files) - 1] = first, image.sectors
    opened.consoles.describe(config, files)
    if opened.events is not None:
        config.events.present, config.events.file = 1, len(files)
        files.append(opened.events.output)
    if entropy is not None:
        config.entropy = len(files)
        files.append(entropy)
    if network is not None:
        network.describe(config.net, len(files))
        files.extend(network.descriptors)
    buses.place_disks(config, asked.disks, asked.cpus)
    buses.place_floppies(config, asked.floppies)
    if network is not None:
        buses.place_network(config)
    buses.place_consoles(config)
    if entropy is not None:
        buses.place_entropy(config)
    if asked.tablet:
        buses.place_tablet(config)
    config.options = options_for(ROWS, asked.devices)
    config.board = machine.board
    config.vga = asked.has_vga
    config.date = clock.date(asked.rtc, time.time())
    for number, byte in enumerate(os.urandom(abi.GENERATION_SIZE)):
        config.generation[number] = byte
    inputs = [each for each in opened.inputs if each is not None]
    said = {
        name: None if each is None else _said(each)
        for name, each in zip((FIRST, *OTHERS), opened.inputs, strict=True)
    }
    frozen = {} if opened.frozen is None else opened.frozen.parts
    return Orders(
        memory=asked.memory,
        cpus=asked.cpus,
        devices=tuple(each.field for each in machine.devices),
        board=int(machine.board),
        domains=domains,
        firmware=asked.by_firmware,
        **said,
        append=asked.append,
        config=bytes(memoryview(config)),
        holes=holes,
        maps=tuple(maps),
        largest=max((image.end * abi.SECTOR for image in opened.disks.values()), default=0),
        controllers=tuple(disk.controller for disk in asked.disks if disk.controller is not None),
        state_size=_state_size(asked, config),
        polled=polls(asked, domains),
        insists=asked.ring != "auto",
        ide_in_memory=asked.ide == options.IDE_IN_MEMORY,
        counts=opened.stats is not None,
        jail=asked.jail.mode,
        restarts=restarts,
        user=user,
        group=group,
        shows=len(shown),
        thaws=tuple(map(int, frozen)),
        jumps=opened.frozen is not None and opened.frozen.jumps,
        descriptors=[*(each.descriptor for each in inputs), *files, *frozen.values(), *shown],
    )


def _addresses(opened: Files) -> Sequence[int]:
    """Where the monitor has the maps of overlays, in the order of their disks."""
    found = [image.overlay for image in opened.disks.values() if image.overlay is not None]
    if not found:
        return ()
    from vestige.host.backends import overlays  # noqa: PLC0415 - few runs need it

    return overlays.places(found)


def _state_size(asked: options.RunOptions, config: abi.Config) -> int:
    """How much of a domain's STATE its ring has: it is pinned, so no more than is used."""
    if config.net.pairs:
        return abi.STATE_SIZE if config.net.pairs > 1 else abi.STATE_FIRST
    others = any(port.present for port in config.ports) or asked.entropy or asked.tablet
    disks = any(disk.bus == options.VIRTIO for disk in asked.disks)
    return abi.STATE_VIRTIO if disks or others else abi.STATE_PLAIN
