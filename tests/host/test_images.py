"""The images of a run: what they are compiled from is what their key is made of."""

import subprocess
import sys
from pathlib import Path

import vestige
from vestige.host.images import SOURCES
from vestige.lang.cache import COMPILER

PACKAGE = Path(vestige.__file__).parent
PROGRAM = """
import sys, vestige.monitor.core.trap_turn, vestige.host.loop.runloop
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("vestige.")))
"""


def test_a_changed_source_of_either_image_is_another_key() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    loaded = [Path(file).relative_to(PACKAGE) for file in done.stdout.split()]
    assert len(loaded) > 50
    covered = [Path(source) for source in (*COMPILER, *SOURCES)]
    missing = [
        str(file)
        for file in loaded
        if file.name != "__init__.py"
        and not any(file == source or source in file.parents for source in covered)
    ]
    assert missing == []
