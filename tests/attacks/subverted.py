"""`vestige run` with a hostile monitor, or with a hostile process in the machine's place.

    python -m tests.attacks.subverted IMAGE WORDS…
    python -m tests.attacks.subverted process:WHAT WORDS…

IMAGE is a compiled monitor's file. WHAT is a function of tests.attacks.process and its arguments,
NAME[:NUMBER…], which CPU 0's thread calls once the process is locked in.
"""

import sys
from collections.abc import Sequence

from tests.attacks import process
from vestige.cli.main import told
from vestige.cli.run import SYNTAX, options_of
from vestige.host.compiled import Compiled, compiled_here
from vestige.host.kvm.monitor_code import MonitorCode
from vestige.host.run import Ready, run
from vestige.lang.image import Image
from vestige.process import prepare

PROCESS = "process:"


def compiled_with(what: str) -> Compiled:
    """What a run has compiled, but for `what` is hostile."""
    compiled = compiled_here()
    if what.startswith(PROCESS):
        name, *numbers = what.removeprefix(PROCESS).split(":")
        compiled.runner = process.runner(compiled.runner, name, [int(each) for each in numbers])
        if name.startswith("open_"):  # what the other layers keep in
            compiled.filter = None
    else:
        compiled.code = MonitorCode(Image.load(what))
    return compiled


def run_words(compiled: Compiled, words: Sequence[str]) -> int:
    """A whole run of `vestige run` WORDS; its exit status."""
    return told(lambda: run(options_of(SYNTAX.read(words)), Ready(compiled)))


def main(what: str, *words: str) -> int:
    """Do it."""
    return run_words(compiled_with(what), words)


if __name__ == "__main__":
    prepare()
    sys.exit(main(*sys.argv[1:]))
