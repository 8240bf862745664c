"""`SoftHost`: starts a software host, runs commands in it, ends it."""

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypedDict, Unpack

import vestige
from vestige.errors import UsageError
from vestige.host import limits
from vestige.host.backends.disks import DiskImage, open_disk
from vestige.host.options import DiskOption
from vestige.signals import Watch
from vestige.softhost import emulator as emulators
from vestige.softhost import kernel as kernels
from vestige.softhost import qemu, wire
from vestige.softhost.command import Command, Sink, SoftHostError
from vestige.softhost.initramfs import boot_archive
from vestige.softhost.link import Link

DEFAULT_MEMORY = 4 << 30
MINIMUM_MEMORY = 512 << 20  # bytes; the kernel and its file systems take 150 MiB of it

_FILES = 256  # open ones that QEMU needs: commands inside have the caller's files open through it
_HIDDEN = ("/dev", "/proc", "/sys")
_AT_ROOT = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # usr-merged or not

_PACKAGE = Path(vestige.__file__).resolve().parent
_BOOT_TIMEOUT = 120.0
_BOOT_ATTEMPTS = 2
_STOP_TIMEOUT = 20.0
_KILL_TIMEOUT = 10.0


class Surroundings(TypedDict, total=False):
    """Where and with what a command runs. What is not given is the caller's, but for the input.

    `stdin` is a descriptor, a file, or the bytes themselves; without it, or with None, there is no
    input.
    """

    cwd: str | Path
    env: Mapping[str, str]
    stdin: int | BinaryIO | bytes | None


class Completed:
    """What a command that has ended left: its exit status, standard output and standard error."""

    __slots__ = ("status", "stderr", "stdout")

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def _say_nothing(_message: str) -> None:
    """The progress of a caller who wants none."""


class SoftHost:
    """A machine in software with a real /dev/kvm and the caller's file system.

    A context manager; or `start` and `stop`. Commands may run one after another and side by
    side, from any thread. The object can be started again after `stop`.
    """

    def __init__(
        self,
        *,
        memory: int = DEFAULT_MEMORY,
        disks: Sequence[tuple[str | Path | int, bool]] = (),
        nvme: Sequence[str | Path | DiskOption] = (),
        network: bool = False,
        host_loopback: bool = False,
        streams: Sequence[int] = (),
        held: Sequence[int] = (),
        apart: bool = False,
        verbose: bool = False,
    ) -> None:
        """`memory` is in bytes. `disks` are (image, read-only), inside /dev/vda, /dev/vdb and on.
        An image is a path, or a descriptor that the caller keeps open and has locked if need be;
        QEMU keeps it open too for as long as it lives, and those in `held`.

        `nvme` are images, at most 15, each behind an NVMe controller that vfio-pci holds, at
        `nvme_addresses`; a DiskOption says how one is opened. With `network` there is one, by
        QEMU's: the caller's, behind 10.0.2.2, and /dev/net/tun; with `host_loopback` 10.0.2.2
        itself is the caller's 127.0.0.1, else nothing. `streams` are connected sockets
        that the caller keeps open: what is written to each comes out of a character device inside,
        one of `stream_names`, and the other way round. Images by their paths are locked (flock)
        while the software host is up. With `apart` there is nothing of the caller's file system but
        `trees_apart`, to be read, and the root is in memory. `verbose` copies the console to
        standard error.

        Raises UsageError for too little memory or too many controllers.
        """
        if memory < MINIMUM_MEMORY:
            raise UsageError(
                f"{memory} bytes of memory for the software host; give {MINIMUM_MEMORY >> 20}M "
                "or more"
            )
        if len(nvme) > qemu.MAXIMUM_NVME:
            raise UsageError(
                f"{len(nvme)} NVMe controllers: a software host has at most {qemu.MAXIMUM_NVME};"
                " give fewer --nvme"
            )
        self._memory, self._network, self._verbose = memory, network, verbose
        self._host_loopback, self._apart = host_loopback, apart
        self._disks, self._nvme = list(disks), list(nvme)
        self._streams, self._held = list(streams), list(held)
        self._link: Link | None = None
        self._opened: list[DiskImage] = []  # images by their paths
        self._numbers = count(1)

    @property
    def nvme_addresses(self) -> list[str]:
        """The PCI addresses inside of the NVMe controllers, in the order of their images."""
        return [qemu.nvme_address(index) for index in range(len(self._nvme))]

    @property
    def disk_names(self) -> list[str]:
        """The block devices inside, in the order of their images."""
        return [f"/dev/vd{chr(ord('a') + i)}" for i in range(len(self._disks))]

    @property
    def stream_names(self) -> list[str]:
        """The character devices inside, in the order of their streams."""
        return [qemu.stream_name(index) for index in range(len(self._streams))]

    @property
    def pid(self) -> int:
        """QEMU's process number; 0 while stopped."""
        return 0 if self._link is None else self._link.pid

    def __enter__(self) -> "SoftHost":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self, progress: Callable[[str], None] = _say_nothing, watch: Watch | None = None
    ) -> None:
        """Boot, and return when commands can run. `progress` gets a line now and then.

        A boot that hangs or panics is tried once more. Raises UsageError if this machine lacks
        something or an image can't be had, SoftHostError if the second boot fails too, Ended where
        `watch` ends the boot.
        """
        if self._link is not None:
            return
        refuse_hidden(_trees(self._apart))
        limits.require_files(_FILES, "the software host")
        emulator, kernel = emulators.ensure(progress), kernels.ensure(progress)
        try:
            configuration = self._configuration(watch)
            for attempt in range(1, _BOOT_ATTEMPTS + 1):
                try:
                    self._boot(configuration, emulator, kernel, progress, watch)
                except SoftHostError as error:
                    if attempt == _BOOT_ATTEMPTS:
                        raise
                    progress(f"{error}\nonce more, in a fresh one")
                else:
                    return
        except BaseException:
            self._close_images()
            raise

    def _boot(
        self,
        configuration: qemu.Configuration,
        emulator: emulators.Emulator,
        kernel: kernels.Kernel,
        progress: Callable[[str], None],
        watch: Watch | None,
    ) -> None:
        release = ".".join(kernel.release.split(".")[:2])
        progress(f"booting Debian's Linux {release} under QEMU (about 10 s)")
        began = time.monotonic()
        boot = boot_archive(
            python=python_apart() if self._apart else sys.executable,
            package_parent=str(_PACKAGE.parent),
            trees=_distinct(_trees(self._apart)),
            links=_links() if self._apart else None,
            vfio=bool(configuration.nvme),
            network=configuration.network,
            host_loopback=self._host_loopback,
        )
        link = Link(
            lambda: qemu.Process(configuration, emulator, kernel, boot),
            _to_standard_error if configuration.verbose else None,
        )
        link.start()
        try:
            if watch is None:
                in_time = link.ready.wait(_BOOT_TIMEOUT)
            else:
                in_time = bool(watch.wait({link.decided: select.POLLIN}, _BOOT_TIMEOUT))
        except BaseException:
            _abandon(link)
            raise
        if not in_time:
            _abandon(link)
            raise SoftHostError(f"the software host did not boot within {_BOOT_TIMEOUT:.0f} s")
        if link.failure is not None:
            link.close()
            raise link.failure
        self._link = link
        progress(f"ready in {time.monotonic() - began:.1f} s")

    def stop(self) -> None:
        """End every command, write everything back, and end the software host."""
        link, self._link = self._link, None
        if link is not None:
            link.request_stop()
            if not link.ended.wait(_STOP_TIMEOUT):
                link.abandon()
            link.close()
        self._close_images()

    def spawn(
        self,
        argv: Sequence[str | Path],
        *,
        stdout: Sink = 1,
        stderr: Sink = 2,
        terminal: tuple[int, int] | None = None,
        raw: bool = False,
        wake: int | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> Command:
        """Start a command as the caller's user; call `wait` on the result.

        `stdout` and `stderr` are descriptors or files. `terminal` (rows, columns) gives the
        command a terminal of its own, with both outputs on `stdout`; one that is `raw` passes every
        byte on as it is, and the command's errors beside it. `wake`: see Command.

        Raises UsageError for an empty command, SoftHostError if the software host is not up.
        """
        if not argv or not os.fspath(argv[0]):
            raise UsageError("no command for the software host; give one after '--'")
        link = self._link
        if link is None:
            raise SoftHostError("the software host is not started")
        command = Command(next(self._numbers), link.send, stdout, stderr, wake)
        start = wire.Start(
            argv=[os.fsencode(argument) for argument in argv],
            cwd=os.fsencode(Path(surroundings.get("cwd", "")).absolute()),
            environment=_environment(surroundings.get("env", os.environ)),
            groups=(os.geteuid(), os.getegid(), os.getgroups()),
            umask=_umask(),
            terminal=terminal or (0, 0),
            raw=raw,
        )
        link.attach(command)
        link.send(wire.encode(wire.START, command.number, wire.encode_start(start)))
        stdin = surroundings.get("stdin")
        if stdin is None:
            link.send(wire.encode(wire.INPUT, command.number))
        elif isinstance(stdin, bytes):
            link.add_input(command, _memory_file(stdin), owned=True)
        else:
            descriptor = stdin if isinstance(stdin, int) else stdin.fileno()
            link.add_input(command, descriptor, owned=False)
        return command

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> int:
        """Run a command to its end; its exit status, 128 + N where signal N ended it.

        As `spawn`, with the caller's outputs. Raises TimeoutError after `timeout` seconds, the
        command killed; SoftHostError if the software host fails.
        """
        return _wait_or_kill(self.spawn(argv, **surroundings), timeout)

    def capture(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float | None = None,
        **surroundings: Unpack[Surroundings],
    ) -> Completed:
        """As `run`, with the output kept."""
        output, errors = io.BytesIO(), io.BytesIO()
        command = self.spawn(argv, stdout=output, stderr=errors, **surroundings)
        status = _wait_or_kill(command, timeout)
        return Completed(status, output.getvalue(), errors.getvalue())

    def _configuration(self, watch: Watch | None) -> qemu.Configuration:
        """What QEMU is to have, with the images of paths open and locked. Raises UsageError, and
        Ended as `watch` does.
        """
        drives = [self._drive(image, read_only, watch) for image, read_only in self._disks]
        controllers = [self._drive(image, False, watch) for image in self._nvme]
        return qemu.Configuration(
            memory=self._memory,
            disks=drives,
            nvme=controllers,
            network=self._network,
            streams=self._streams,
            held=[*self._held, *(image.claim for image in self._opened)],
            shares=qemu.shares_of(trees_apart()) if self._apart else qemu.WHOLE,
            verbose=self._verbose,
        )

    def _drive(
        self, image: str | Path | int | DiskOption, read_only: bool, watch: Watch | None
    ) -> qemu.Drive:
        """As `vestige run` opens images; what a mere path leads to is taken as raw."""
        if isinstance(image, int):
            return qemu.Drive(image, read_only)
        if not isinstance(image, DiskOption):
            image = DiskOption(os.fspath(image), read_only=read_only, raw=True)
        self._refuse_twice(image)
        opened = open_disk(image, watch)
        self._opened.append(opened)
        return qemu.Drive(opened.descriptor, opened.read_only)

    def _refuse_twice(self, image: DiskOption) -> None:
        """Raise UsageError for an image that is here already: it is no other run that has it."""
        for other in self._opened:
            try:
                same = os.path.samestat(Path(image.path).stat(), os.fstat(other.claim))
            except (OSError, ValueError):
                return  # opening says why
            if same and not (image.read_only and other.read_only):
                raise UsageError(
                    f"{image.path}: given twice; give it once, or both of them ,readonly"
                )

    def _close_images(self) -> None:
        while self._opened:
            self._opened.pop().close()


def _abandon(link: Link) -> None:
    link.abandon()
    link.close()


def _wait_or_kill(command: Command, timeout: float | None) -> int:
    """Wait; where that ends otherwise than by the command's end, kill the command."""
    try:
        return command.wait(timeout)
    except TimeoutError:
        command.kill()
        with contextlib.suppress(TimeoutError):
            command.wait(_KILL_TIMEOUT)
        raise
    except BaseException:
        command.kill()
        raise


def refuse_hidden(paths: Iterable[Path]) -> None:
    """Raise UsageError for a path below which a software host has files of its own."""
    for path in paths:
        for hidden in _HIDDEN:
            if path.is_relative_to(hidden):
                raise UsageError(
                    f"{path}: the software host has a {hidden} of its own, in which this is not; "
                    "have it in another directory, or run where /dev/kvm works (`vestige doctor`)"
                )


def python_apart() -> str:
    """This Python where no more is shared than it needs: without the links that lead to it."""
    return str(Path(sys.executable).resolve())


def trees_apart() -> list[str]:
    """All that a software host that is kept apart has of the caller's file system, to be read."""
    return _distinct(_trees(apart=True))


def _trees(apart: bool) -> list[Path]:
    """The directories a software host can't do without; its Python needs no environment `apart`."""
    python = os.path.dirname(python_apart()) if apart else sys.prefix  # noqa: PTH120 - as the others
    names = ["/usr", sys.base_prefix, sys.base_exec_prefix, python, str(_PACKAGE)]
    at_root = [Path("/", name) for name in _AT_ROOT if apart]
    own = [path for path in at_root if path.is_dir() and not path.is_symlink()]
    return [Path(name).resolve() for name in names] + own


def _links() -> dict[str, str]:
    """Names at the root that are links into /usr, and where each leads."""
    links = [Path("/", name) for name in _AT_ROOT]
    return {link.name: str(link.readlink()) for link in links if link.is_symlink()}


def _distinct(trees: Iterable[Path]) -> list[str]:
    """Those that are in no other; they don't change while a software host is up."""
    kept: list[Path] = []
    for tree in sorted(set(trees)):  # what holds another comes before it
        if tree != Path("/") and not any(tree.is_relative_to(known) for known in kept):
            kept.append(tree)
    return [str(tree) for tree in kept]


def _environment(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    """The command's environment, with a mark that says where it runs."""
    marked = {**environment, "VESTIGE_SOFTHOST": "1"}
    return {os.fsencode(name): os.fsencode(value) for name, value in marked.items()}


def _umask() -> int:
    """The caller's umask, which Linux shows without changing it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def _memory_file(content: bytes) -> int:
    """A descriptor to read `content` from."""
    descriptor = os.memfd_create("stdin")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _to_standard_error(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
