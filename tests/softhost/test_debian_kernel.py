"""Kernels as Debian 12, 13 and 14 package them: stand-ins for apt, and for unpacked trees."""

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.softhost.debian import tool
from tests.softhost.test_modules import module
from vestige.errors import UsageError
from vestige.softhost import debian_kernel

RELEASE = "6.1.0-9-amd64"
LATER = "7.2.13+deb14-amd64"
PARTS = [f"linux-{part}-{LATER}" for part in ("base", "binary", "modules")]
LISTS = f"""\
Package: linux-image-amd64
Version: 6.1.9-1
Depends: linux-base (>= 4), linux-image-{RELEASE} (= 6.1.9-1)

Package: linux-image-{RELEASE}
Version: 6.1.9-1
Depends: kmod, linux-base (>= 4.3), initramfs-tools (>= 0.120) | linux-initramfs-tool

Package: linux-image-cloud-amd64
Version: 7.2.13-1
Depends: linux-base-cloud-amd64 (= 7.2.13-1), linux-image-{LATER} (= 7.2.13-1)

Package: linux-image-{LATER}
Version: 7.2.13-1
Depends: dracut | initramfs-tools, {", ".join(f"{part} (= 7.2.13-1)" for part in PARTS)}

Package: linux-base-{LATER}
Version: 7.2.13-1

Package: linux-binary-{LATER}
Version: 7.2.13-1

Package: linux-modules-{LATER}
Version: 7.2.13-1

Package: linux-image-rt-amd64
Version: 1-1
Depends: kmod
"""


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH whose apt-cache prints the asked paragraphs of LISTS."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for paragraph in LISTS.strip().split("\n\n"):
        name = paragraph.splitlines()[0].removeprefix("Package: ")
        (tmp_path / name).write_text(f"{paragraph}\nArchitecture: amd64\nSize: 1\n\n")
    show = f"shift 2; for name; do [ -e {tmp_path}/$name ] && cat {tmp_path}/$name; done; true"
    tool(tools, "apt-cache", show)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")


@pytest.mark.usefixtures("lists")
def test_a_kernel_of_one_package() -> None:
    kernel = debian_kernel.current("amd64")
    assert kernel.release == RELEASE
    assert [package.name for package in kernel.all] == [f"linux-image-{RELEASE}"]


@pytest.mark.usefixtures("lists")
def test_a_kernel_of_several_packages() -> None:
    kernel = debian_kernel.current("cloud-amd64")
    assert kernel.release == LATER
    assert [package.name for package in kernel.all] == [f"linux-image-{LATER}", *PARTS]


@pytest.mark.usefixtures("lists")
def test_a_meta_package_that_names_no_kernel_is_refused() -> None:
    with pytest.raises(UsageError, match=r"linux-image-rt-amd64 1-1 names no kernel package"):
        debian_kernel.current("rt-amd64")


KVM = module(b"depends=irqbypass\0name=kvm\0")
BYPASS = module(b"depends=\0name=irqbypass\0")
BUILT_IN = "kernel/drivers/virtio/virtio-pci.ko\n"


def debian_12(tree: Path) -> None:
    folder = tree / "lib/modules" / RELEASE
    (folder / "kernel/virt").mkdir(parents=True)
    (tree / "boot").mkdir()
    (tree / "boot" / f"vmlinuz-{RELEASE}").write_text("kernel")
    (folder / "modules.builtin").write_text(BUILT_IN)
    (folder / "kernel/virt/kvm.ko").write_bytes(KVM)
    (folder / "kernel/virt/irqbypass.ko").write_bytes(BYPASS)


def debian_13(tree: Path) -> None:
    folder = tree / "usr/lib/modules" / RELEASE
    (folder / "kernel/virt").mkdir(parents=True)
    (tree / "boot").mkdir()
    (tree / "boot" / f"vmlinuz-{RELEASE}").write_text("kernel")
    (folder / "modules.builtin").write_text(BUILT_IN)
    (folder / "kernel/virt/kvm.ko.xz").write_bytes(lzma.compress(KVM))
    (folder / "kernel/virt/irqbypass.ko.xz").write_bytes(lzma.compress(BYPASS))


def debian_14(tree: Path) -> None:
    debian_13(tree)
    (tree / "boot" / f"vmlinuz-{RELEASE}").rename(tree / "usr/lib/modules" / RELEASE / "vmlinuz")
    (tree / "boot").rmdir()


LAYOUTS = pytest.mark.parametrize("layout", [debian_12, debian_13, debian_14])


@LAYOUTS
def test_kernel_and_modules_are_found_in_each_releases_layout(
    layout: Callable[[Path], None], tmp_path: Path
) -> None:
    layout(tmp_path)
    tree = debian_kernel.Tree(tmp_path, RELEASE)
    assert tree.image.read_text() == "kernel"
    assert tree.load_order(["kvm", "virtio_pci"]) == ["irqbypass", "kvm"]
    assert tree.module("kvm") == KVM


@LAYOUTS
def test_a_module_that_is_not_there_is_an_error_unless_it_need_not_be(
    layout: Callable[[Path], None], tmp_path: Path
) -> None:
    layout(tmp_path)
    tree = debian_kernel.Tree(tmp_path, RELEASE)
    with pytest.raises(UsageError, match=f"kernel {RELEASE} is not as expected: .* crc32c"):
        tree.load_order(["crc32c"])
    assert tree.load_order(["crc32c", "irqbypass"], if_there=["crc32c"]) == ["irqbypass"]


def test_a_module_packed_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    debian_14(tmp_path)
    folder = tmp_path / "usr/lib/modules" / RELEASE / "kernel/virt"
    (folder / "kvm.ko.xz").rename(folder / "kvm.ko.zst")
    with pytest.raises(UsageError, match=r"kvm\.ko\.zst: a kernel module is packed by xz or not"):
        debian_kernel.Tree(tmp_path, RELEASE).load_order(["kvm"])


@pytest.mark.parametrize("missing", ["vmlinuz", "modules.builtin"])
def test_a_layout_of_another_kind_is_refused(missing: str, tmp_path: Path) -> None:
    debian_14(tmp_path)
    (tmp_path / "usr/lib/modules" / RELEASE / missing).unlink()
    with pytest.raises(UsageError, match=f"kernel {RELEASE} has no .*{missing}"):
        debian_kernel.Tree(tmp_path, RELEASE)
