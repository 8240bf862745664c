"""`vestige build` fills the cache; a run that hits it needs no compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vestige.cli import main
from vestige.host import images


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that `vestige build` has filled."""
    folder = tmp_path_factory.mktemp("cache")
    built = vestige(folder, "build")
    assert built.returncode == 0, built.stderr
    for line in built.stdout.splitlines():
        assert Path(line).is_relative_to(folder)
        assert Path(line).is_file()
    assert "compiling the monitor" in built.stderr
    return folder


def vestige(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the tool with a cache of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vestige.cli.main", *words],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_second_build_compiles_nothing(cache: Path) -> None:
    again = vestige(cache, "build")
    assert again.returncode == 0
    assert "compiling" not in again.stderr


def test_the_listing_shows_source_between_machine_code(cache: Path) -> None:
    listing = vestige(cache, "build", "--listing").stdout
    assert "vestige/monitor/core/trap_turn.py:" in listing
    assert "def vcpu_main(cpu: Cpu) -> None:" in listing
    assert "ret" in listing


def test_a_cache_that_cannot_be_filled_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(images, "ensure", lambda: None)  # builds, and keeps nothing
    assert main.main(["build"]) == main.EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.err.startswith(f"vestige: {tmp_path}/vestige/images/monitor-")
    assert "can't be kept; make room" in shown.err
    Path(images.locations()[0]).mkdir(parents=True)
    assert main.main(["build"]) == main.EXIT_USAGE
    assert "can't be kept; remove the directory of that name" in capsys.readouterr().err
    assert shown.out == ""


LOADED = """
import sys
from vestige.cli import run
from vestige.host import images, run as native
images.monitor_image(); images.run_loop_image()
print(*sorted(name for name in sys.modules if name.startswith(
    ("llvmlite", "elftools", "vestige.lang.compiler", "vestige.lang.build", "vestige.monitor.core")
)))
"""


def test_a_run_that_hits_the_cache_imports_no_compiler(cache: Path) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert loaded.stdout.strip() == ""
