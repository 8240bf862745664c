"""What the words of `vestige run` mean, and what is refused."""

import pytest

from vestige import abi
from vestige.errors import UsageError
from vestige.host import options
from vestige.host.options import ConsoleOption, DiskOption, JailOption, PortOption, RunOptions
from vestige.monitor.drivers.ring.spec import MAX_BUFFERS


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("64m", 64 << 20),
        ("5G", 5 << 30),
        ("128", 128 << 20),
        ("1.5G", 1536 << 20),
        ("1GB", 1 << 30),
        ("512MiB", 512 << 20),
        ("0.5 gib", 512 << 20),
        (".0625G", 64 << 20),
        ("65536K", 64 << 20),
    ],
)
def test_memory_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert options.parse_memory(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "M", ".", ".G", "1..5G", "1.5.0G", "-1G", "x", "63M", "31G", "0.06G", "65M", "٣G"),
        *("64B", "64MX", "64iB", "1e3M", "1" * 5000, "0." + "1" * 5000 + "G", "nan", "inf"),
    ],
)
def test_other_memory_is_refused_with_the_words_given(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--memory "):
        options.parse_memory(text)


@pytest.mark.parametrize(
    ("text", "next_size"), [("101M", "102M"), ("0.1G", "104M"), ("100000K", "98M"), ("65", "66M")]
)
def test_the_next_size_that_there_is_is_named(text: str, next_size: str) -> None:
    with pytest.raises(UsageError, match=f"not a multiple of 2M; give {next_size}$"):
        options.parse_memory(text)
    assert options.parse_memory(next_size) % abi.CHUNK == 0


def test_the_largest_memory_fits_the_rings_table_of_buffers() -> None:
    chunks = abi.MAXIMUM_MEMORY // abi.CHUNK
    assert abi.FIRST_CHUNK_BUFFER + chunks <= MAX_BUFFERS


def test_cpus_are_one_to_thirty_two() -> None:
    assert [options.parse_cpus(str(n)) for n in range(1, 33)] == list(range(1, 33))


@pytest.mark.parametrize("text", ["0", "33", "-1", "two", "", "1.0", "²", "٣", "1_0", "+1", "1e0"])
def test_other_numbers_of_cpus_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"1 to 32"):
        options.parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), ("10s", 10), ("5m", 300), ("1.5 min", 90), ("2h", 7200), ("1e2S", 100)],
)
def test_a_timeout_is_a_time_above_zero(text: str, seconds: float) -> None:
    assert options.parse_timeout(text) == seconds


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "inf", "infs", "soon", "", "s", "5d", "1e9h", "٣", "1_0", "1_0m"]
)
def test_other_timeouts_are_refused_with_the_words_given(text: str) -> None:
    with pytest.raises(UsageError, match=f"^--timeout {text}: give a time above 0"):
        options.parse_timeout(text)


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("a.img", DiskOption("a.img")),
        ("a.img,readonly", DiskOption("a.img", read_only=True)),
        ("/dev/sdb,bus=ide,readonly", DiskOption("/dev/sdb", "ide", True)),
        ("a,,b.img,bus=ide", DiskOption("a,b.img", "ide")),
        ("a.img,discard=unmap", DiskOption("a.img", discard=True)),
        ("a.img,discard=ignore", DiskOption("a.img")),
        ("a.img,format=raw,readonly", DiskOption("a.img", read_only=True, raw=True)),
    ],
)
def test_a_disk_is_a_path_and_options(text: str, disk: DiskOption) -> None:
    assert options.parse_disk(text) == disk


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no path"),
        (",readonly", "no path"),
        ("a,bus=scsi", "no bus 'scsi'"),
        ("a,bus", "unknown option 'bus'"),
        ("a,readonly=1", "unknown option 'readonly=1'"),
        ("a,", "unknown option ''"),
        ("a,rw", "unknown option 'rw'"),
        ("a,discard", "unknown option 'discard'.*discard=unmap|ignore"),
        ("a,discard=on", "unknown option 'discard=on'"),
        ("a,discard=unmap,readonly", "only read; leave discard=unmap out"),
        ("vfio:01:00.0,discard=unmap", "a controller discards by itself; leave"),
        ("a,format", "unknown option 'format'.*format=raw"),
        ("a,format=qcow2", "no format 'qcow2'.*qemu-img convert -O raw a a.raw"),
        ("vfio:01:00.0,format=raw", "leave format=raw out"),
    ],
)
def test_an_unknown_disk_option_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_disk(text)


@pytest.mark.parametrize(
    ("text", "path", "raw"),
    [
        ("a.iso", "a.iso", False),
        ("a,,b.iso,format=raw", "a,b.iso", True),
        ("none", "", False),
        ("./none", "./none", False),
        ("vfio:a.iso", "vfio:a.iso", False),
    ],
)
def test_a_cdrom_is_an_image_that_is_read_on_ide(text: str, path: str, raw: bool) -> None:
    disk = options.parse_cdrom(text)
    assert disk == DiskOption(path, "ide", read_only=True, raw=raw, is_optical=True)
    assert disk.controller is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no path"),
        ("a.iso,readonly", "unknown option 'readonly'; there are format=raw"),
        ("a.iso,format=iso", "no format 'iso'"),
    ],
)
def test_an_unknown_cdrom_option_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_cdrom(text)


def test_a_drive_for_discs_is_the_last_of_four_disks() -> None:
    drive = options.parse_cdrom("none")
    three = (DiskOption("a"), DiskOption("b"), DiskOption("c"))
    run = RunOptions("kernel", disks=three, cdrom=drive)
    options.check(run)
    assert run.disks == (*three, drive)
    assert run.drive == 3
    assert RunOptions("kernel", disks=three).drive is None
    with pytest.raises(UsageError, match=r"5 disks.*as --cdrom is one"):
        options.check(RunOptions("kernel", disks=(*three, DiskOption("d")), cdrom=drive))


def test_a_pc_boots_a_cd_alone() -> None:
    options.check(RunOptions(machine=options.PC, cdrom=options.parse_cdrom("a.iso")))


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("a.img", DiskOption("a.img")),
        ("a,,b,readonly,format=raw", DiskOption("a,b", read_only=True, raw=True)),
    ],
)
def test_a_software_hosts_image_is_a_path_and_options(text: str, image: DiskOption) -> None:
    assert options.parse_nvme(text) == image


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "--nvme : no path"),
        (",format=raw", "no path; give IMAGE"),
        ("a,bus=ide", "unknown option 'bus=ide'; there are readonly and format=raw"),
        ("a,format=qcow2", "no format 'qcow2'.*qemu-img convert -O raw a a.raw"),
    ],
)
def test_an_unknown_option_of_such_an_image_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_nvme(text)


def test_five_disks_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 4"):
        options.check(RunOptions(kernel="k", disks=(DiskOption("d"),) * 5))


@pytest.mark.parametrize(
    ("text", "floppy"),
    [
        ("a.img", DiskOption("a.img", "floppy")),
        ("a,,b,readonly", DiskOption("a,b", "floppy", read_only=True)),
        ("none", DiskOption("", "floppy")),
        ("./none", DiskOption("./none", "floppy")),
    ],
)
def test_a_floppy_is_an_image_or_an_empty_drive(text: str, floppy: DiskOption) -> None:
    assert options.parse_floppy(text) == floppy


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "--floppy : no path; give IMAGE.,readonly. or none"),
        ("a,ro", "unknown option 'ro'; there are readonly"),
        ("none,readonly,bus=ide", "unknown option 'bus=ide'"),
    ],
)
def test_what_a_floppy_can_not_be_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_floppy(text)


def test_floppies_are_disks_but_for_empty_drives() -> None:
    disk, first, empty = DiskOption("d"), DiskOption("f", "floppy"), DiskOption("", "floppy")
    asked = RunOptions(disks=(disk,), floppies=(empty, first), machine="pc")
    assert asked.disks == (disk, first)
    assert asked.floppies == (empty, first)
    options.check(asked)
    options.check(RunOptions(floppies=(first,), machine="pc"))


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (
            RunOptions("k", floppies=(DiskOption("f", "floppy"),)),
            "--floppy: a PC has floppy drives",
        ),
        (RunOptions("k", floppies=(DiskOption("", "floppy"),)), "--floppy: a PC has floppy drives"),
        (
            RunOptions("k", machine="pc", floppies=(DiskOption("", "floppy"),) * 3),
            "3 times --floppy: a PC has at most 2",
        ),
        (
            RunOptions(machine="pc", floppies=(DiskOption("", "floppy"),)),
            "give --disk PATH, --cdrom IMAGE, --floppy IMAGE, or",
        ),
        (
            RunOptions(
                machine="pc",
                disks=(DiskOption("d"),) * 3,
                floppies=(DiskOption("f", "floppy"),) * 2,
            ),
            "5 disks: .* give fewer --disk or --floppy",
        ),
    ],
)
def test_floppies_that_can_not_be_are_refused(asked: RunOptions, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.check(asked)


@pytest.mark.parametrize(
    ("text", "console"),
    [
        ("stdio", ConsoleOption()),
        ("log", ConsoleOption("log")),
        ("unix:/run/c", ConsoleOption("unix:/run/c")),
        ("virtio", ConsoleOption("stdio", "virtio")),
        ("virtio:stdio", ConsoleOption("stdio", "virtio")),
        ("virtio:log,early", ConsoleOption("log,early", "virtio")),
        ("virtio:unix:/run/c", ConsoleOption("unix:/run/c", "virtio")),
        ("virtio,early", ConsoleOption("stdio", "virtio", True)),
        ("virtio,early:unix:/run/c", ConsoleOption("unix:/run/c", "virtio", True)),
        ("./virtio", ConsoleOption("./virtio")),
        ("virtio.log", ConsoleOption("virtio.log")),
        ("a,virtio:b", ConsoleOption("a,virtio:b")),
    ],
)
def test_a_console_is_a_device_and_what_it_is_connected_to(
    text: str, console: ConsoleOption
) -> None:
    assert options.parse_console(text) == console


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no name; give stdio"),
        ("virtio:", "no name; give stdio"),
        ("virtio,late", "unknown option 'late'; there is virtio,early"),
        ("virtio,:log", "unknown option ''"),
    ],
)
def test_a_console_that_is_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_console(text)


@pytest.mark.parametrize(
    ("text", "jail"),
    [
        ("on", JailOption()),
        ("off", JailOption("off")),
        ("require,uid=vm", JailOption("require", "vm")),
        ("cgroup=/a/b,uid=7", JailOption("on", "7", "/a/b")),
    ],
)
def test_a_jail_is_how_strict_whose_and_where(text: str, jail: JailOption) -> None:
    assert options.parse_jail(text) == jail


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' means nothing here; there are on, require, off, uid=USER and cgroup=PATH"),
        ("strict", "'strict' means nothing"),
        ("uid=", "'uid=' means nothing"),
        ("on=1", "'on=1' means nothing"),
        ("uid=a,uid=b", "'uid=b' means nothing here; .* each once"),
        ("on,require", "on and require; give one of them"),
        ("off,cgroup=a", "without a jail there is no cgroup"),
    ],
)
def test_a_jail_that_is_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_jail(text)


def test_a_port_is_a_name_and_what_it_is_connected_to() -> None:
    assert options.parse_port("org.a-b_1=unix:/run/a=b") == PortOption("org.a-b_1", "unix:/run/a=b")
    assert options.parse_port("a=./stdio") == PortOption("a", "./stdio")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "give NAME=unix:PATH or NAME=FILE"),
        ("agent", "give NAME="),
        ("agent=", "give NAME="),
        ("=log", "'' can't be a port's name"),
        ("a/b=log", "'a/b' can't be a port's name"),
        ("a b=log", "can't be a port's name"),
        ("ä=log", "can't be a port's name"),
        ("...=log", "can't be a port's name"),
        ("a" * 33 + "=log", "give 1 to 32 letters"),
        ("a=stdio", "standard input and output are the console's"),
    ],
)
def test_a_port_that_is_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        options.parse_port(text)


def test_ports_are_few_and_differ() -> None:
    ports = tuple(PortOption(f"p{n}", f"f{n}") for n in range(7))
    options.check(RunOptions("k", ports=ports[:6]))
    with pytest.raises(UsageError, match="7 ports: there may be at most 6; give fewer --port"):
        options.check(RunOptions("k", ports=ports))
    with pytest.raises(UsageError, match="--port p0: given twice"):
        options.check(RunOptions("k", ports=(ports[0], PortOption("p0", "other"))))
    with pytest.raises(UsageError, match="--port b=f0: another console is connected there"):
        options.check(RunOptions("k", ports=(ports[0], PortOption("b", "f0"))))
    with pytest.raises(UsageError, match="--port p0=f0: another console is connected there"):
        options.check(RunOptions("k", console=ConsoleOption("f0"), ports=ports[:1]))
