"""The bundle of a run's code: the same modules as by their files, and none of other sources."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vestige.cli import bundle
from vestige.devices import DEVICES
from vestige.host import images
from vestige.lang import cache

# As bin/vestige begins. What is settled depends on the time, which is far ahead here.
BEGIN = """
import sys, time
time.time_ns = lambda: 1 << 62
from vestige.cli import bundle
bundle.begin()
"""
# Of all but rows, in whose place another is, and of those that are there for it.
DESCRIBE = """
import vestige.cli.soft_inside, vestige.devices
from vestige.cli import bundling
for name, module in sorted(sys.modules.items()):
    if name.startswith("vestige.") and name not in ("vestige.cli.bundling", "vestige.rows"):
        spec = module.__spec__
        print(name, module.__file__, module.__package__, getattr(module, "__path__", None),
              spec.name, spec.origin, spec.cached, spec.parent, spec.submodule_search_locations,
              sorted(set(vars(module)) - {"__cached__"}))
"""
ROWS = """
from vestige import abi, rows
print([name for name in sys.modules if name.startswith(("vestige.devices", "vestige.monitor"))])
from vestige.devices import DEVICES, POSTS
from vestige.lang.records import Record, made_at
def differ(one, other):
    if isinstance(one, Record):
        all_of = [[getattr(each, name) for name, _ in each._fields] for each in (one, other)]
        return made_at(one) != made_at(other) or differ(*map(tuple, all_of))
    if isinstance(one, tuple):
        return len(one) != len(other) or any(map(differ, one, other))
    return one(abi.Config()) != other(abi.Config()) if callable(one) else one != other
print(len(rows.ROWS), differ((DEVICES, POSTS), (rows.ROWS, rows.POSTS)))
"""
FROM_WHERE = "\nprint('vestige.cli.bundling' not in sys.modules)\n"
FAIL = """
from vestige.host import options
options.parse_memory(None)
"""

Python = Callable[..., str]


@pytest.fixture(name="python")
def fixture_python(tmp_path: Path) -> Python:
    """What a program prints that has a cache of its own, and sources `at` some place."""

    def run(program: str, at: Path = Path(bundle.PACKAGES), **environment: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(at), **environment}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=kept | own,
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.stderr == ""
        return done.stdout.strip()

    return run


def kept_file(folder: Path) -> Path:
    (file,) = (folder / "cache" / "vestige" / "images").glob(f"{bundle.NAME}-*")
    return file


def test_its_modules_are_what_they_are_by_their_files(python: Python) -> None:
    by_files = python(BEGIN + DESCRIBE)
    assert python(BEGIN + DESCRIBE) == by_files
    assert by_files.count("\n") > 150


def test_the_rows_of_devices_are_in_it_as_they_are_by_files(python: Python) -> None:
    python(BEGIN)
    assert python(BEGIN + ROWS) == f"[]\n{len(DEVICES)} False"


def test_it_is_read_by_the_second_run(python: Python) -> None:
    assert python(BEGIN + FROM_WHERE) == "False"
    assert python(BEGIN + FROM_WHERE) == "True"


def test_the_images_key_is_in_it(python: Python) -> None:
    ask = (
        "\nfrom vestige.host import images, prepared"
        "\nfrom vestige.lang import cache"
        "\nprint(images.key() in prepared.KEYS.values(), images.key(), cache.key(images.SOURCES))"
    )
    key = cache.key(images.SOURCES)
    assert python(BEGIN + ask) == f"False {key} {key}"
    assert python(BEGIN + ask) == f"True {key} {key}"


def test_the_images_key_in_it_is_of_the_llvmlite_that_there_was(
    python: Python, tmp_path: Path
) -> None:
    ask = (
        "\nfrom vestige.host import images, prepared\nprint(images.key() in prepared.KEYS.values())"
    )
    folder = tmp_path / "site" / "llvmlite-1.0.dist-info"
    folder.mkdir(parents=True)
    path = {"PYTHONPATH": f"{bundle.PACKAGES}:{folder.parent}"}
    assert python(BEGIN + ask, **path) == "False"
    assert python(BEGIN + ask, **path) == "True"
    folder.rename(folder.with_name("llvmlite-1.1.dist-info"))
    assert python(BEGIN + ask, **path) == "False"


def test_a_changed_source_is_noticed(python: Python, tmp_path: Path) -> None:
    """Of a module in it, and of what is compiled."""
    sources = tmp_path / "packages"
    shutil.copytree(Path(bundle.PACKAGES) / "vestige", sources / "vestige")
    for name in ("cli/arguments.py", "monitor/core/bus.py"):
        python(BEGIN, sources)
        assert python(BEGIN + FROM_WHERE, sources) == "True"
        with (sources / "vestige" / name).open("a") as file:
            file.write("\nADDED = 1\n")
        assert python(BEGIN + FROM_WHERE, sources) == "False"
    program = "\nfrom vestige.cli import arguments\nprint(arguments.ADDED)"
    assert python(BEGIN + program, sources) == "1"


def test_one_that_is_damaged_or_not_this_users_alone_is_not_taken(
    python: Python, tmp_path: Path
) -> None:
    python(BEGIN)
    file = kept_file(tmp_path)
    file.chmod(0o666)
    assert python(BEGIN + FROM_WHERE) == "False"
    assert file.stat().st_mode & 0o777 == 0o600, "it is written anew"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:8], b"", bytes(len(whole))):
        file.write_bytes(damaged)
        assert python(BEGIN + FROM_WHERE) == "False"
        assert python(BEGIN + FROM_WHERE) == "True"


def test_none_is_kept_where_python_is_to_keep_no_code(python: Python, tmp_path: Path) -> None:
    python(BEGIN, PYTHONDONTWRITEBYTECODE="1")
    assert not (tmp_path / "cache").exists()


def test_none_is_kept_of_sources_that_change_meanwhile(python: Python, tmp_path: Path) -> None:
    python(BEGIN.replace("1 << 62", "0"))
    assert not list((tmp_path / "cache").rglob(f"{bundle.NAME}-*"))


def test_without_a_cache_modules_come_from_their_files(python: Python, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    for _ in range(2):
        assert python(BEGIN + FROM_WHERE) == "False"


def test_a_folder_of_images_that_others_could_change_is_told_of_by_the_run_alone(
    python: Python, tmp_path: Path
) -> None:
    """It says so in one line, as without a bundle: nothing is raised before."""
    folder = tmp_path / "cache" / "vestige" / "images"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "cache").chmod(0o700)
    (tmp_path / "cache" / "vestige").chmod(0o700)
    folder.chmod(0o777)
    assert python(BEGIN + FROM_WHERE) == "False"
    assert not list(folder.iterdir())


def test_nothing_is_told_or_kept_for_a_user_without_a_home(python: Python, tmp_path: Path) -> None:
    nowhere = {"XDG_CACHE_HOME": "", "HOME": f"{os.devnull}/none", "TMPDIR": str(tmp_path)}
    assert python(BEGIN + FROM_WHERE, **nowhere) == "False"
    assert not list(tmp_path.iterdir())


def test_tracebacks_show_source_lines(python: Python) -> None:
    python(BEGIN)
    program = "\nimport traceback\ntry:" + FAIL.replace("\n", "\n    ").rstrip()
    shown = python(BEGIN + program + "\nexcept Exception:\n    print(traceback.format_exc())")
    path = f"{bundle.PACKAGES}/vestige/host/options.py"
    assert f'File "{path}"' in shown
    line = shown.split(f'File "{path}", line ')[1].split("\n")
    assert (
        line[1].strip()
        == Path(path).read_text().splitlines()[int(line[0].split(",")[0]) - 1].strip()
    )
