"""How fast disks and networks of this version are beside those of an earlier one.

    python -m bench.before [COMMIT] [--rounds 3] [--seconds 2]

COMMIT is one of the project's history; without it the last before there was a PC. Its tree is put
into build/bench, and its guests take turns with this one's, in the software hosts and with the
guests of bench.virtio_disk, bench.virtio_net (by a tap: words of others have changed) and
bench.ide_speed. Writes bench/results/before.json, and prints a table.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import ide_speed, virtio_disk, virtio_net
from bench.common import command, results
from bench.common.guests import ROOT, WORK
from bench.common.results import Goal, Rounds
from bench.common.virtio_bench import Configuration
from bench.virtio_report import RATE
from vestige.errors import UsageError

NAME = "before"
WITHOUT_A_PC = "756cbbfd"
BEFORE, NOW = "before", "now"
WORST = 0.95  # of its rate: less is no noise
DISK, NETWORK = "a virtio disk", "a network"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit", nargs="?", default=WITHOUT_A_PC, help=f"({WITHOUT_A_PC})")
    parser.add_argument("--rounds", type=int, default=3, help="of all guests (3)")
    parser.add_argument("--seconds", type=int, default=2, help="that each measure takes (2)")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.seconds) < 1:
        raise UsageError("at least one round, of at least one second")
    say = command.Progress(NAME)
    with checked_out(arguments.commit, say) as tree:
        found = measure(tree, arguments.rounds, arguments.seconds)
    report(arguments.commit, found)
    return 0


@contextmanager
def checked_out(commit: str, say: command.Progress) -> Iterator[Path]:
    """The earlier version's tree, its monitor compiled. Raises UsageError for no such commit."""
    tree = WORK / NAME
    git = ("git", "-C", str(ROOT))
    known = [*git, "cat-file", "-e", f"{commit}^{{commit}}"]
    if subprocess.run(known, check=False, stderr=subprocess.DEVNULL).returncode:
        raise UsageError(f"no commit {commit} in this clone; give one that git log shows")
    subprocess.run([*git, "worktree", "prune"], check=True)
    subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        say(f"compiling the monitor of {commit}")
        for words in (("compileall", "-q", "vestige"), ("vestige.cli.main", "build")):
            there = [*elsewhere(tree), sys.executable, "-m", *words]
            subprocess.run(there, check=True, stdout=subprocess.DEVNULL)
        yield tree
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)


def elsewhere(tree: Path) -> list[str]:
    """The words before a command that is run there, with a cache of its own."""
    return ["env", "-C", str(tree), f"XDG_CACHE_HOME={tree / 'build' / 'cache'}"]


def measure(tree: Path, rounds: int, seconds: int) -> dict[str, Rounds]:
    """What both versions' guests did, by what was below them."""

    def virtio(ours: Configuration) -> dict[str, Configuration]:
        return {
            BEFORE: lambda guest, append: [*elsewhere(tree), *ours(guest, append)],
            NOW: ours,
        }

    def ide(ours: ide_speed.Configuration) -> dict[str, ide_speed.Configuration]:
        way = ours.command
        earlier = ours._replace(command=lambda *of: [*elsewhere(tree), *way(*of)])
        return {BEFORE: earlier, NOW: ours}

    tap = virtio_net.configurations()[virtio_net.OURS]
    found = {
        DISK: virtio_disk.measure(rounds, seconds, virtio(virtio_disk.vestige("kick"))),
        NETWORK: virtio_net.measure(rounds, seconds, virtio(tap))[virtio_net.FULL],
    }
    for name, each in ide_speed.configurations("native").items():
        if name.startswith("Vestige, "):
            what = "an " + name.removeprefix("Vestige, ")
            found[what] = ide_speed.measure(rounds, seconds, ide(each))
    return {what: measured(each) for what, each in found.items()}


def measured(result: Mapping[str, Any]) -> Rounds:
    """A benchmark's rounds."""
    rounds: Rounds = result["measured"]
    return rounds


def report(commit: str, found: Mapping[str, Rounds]) -> None:
    """JSON, and the table."""
    results.write_json(NAME, {"date": results.today(), "commit": commit, "measured": found})
    rows = [row for what, rounds in found.items() for row in rows_of(what, rounds)]
    head = ["", f"before, {commit}", "now", "now / before", f"≥ {WORST} x"]
    print("\n".join(results.table(head, rows)))


def rows_of(what: str, rounds: Rounds) -> Iterator[list[str]]:
    """Those of what was below the guests: their rates, and how long a read of Status takes."""
    for measure in rounds[NOW][0]:
        title, _, kind = measure.partition(": ")
        if kind not in ("", RATE):
            continue
        is_time = title == "status read"
        bound = 1 / WORST if is_time else WORST
        goal = Goal(measure, NOW, BEFORE, bound, at_most=is_time)
        ratio = results.ratio(rounds, goal)
        yield [
            f"{what}, {title.replace('-', ' ')}{', µs' if is_time else ''}",
            *(results.number(results.median(rounds, each, measure)) for each in (BEFORE, NOW)),
            f"{ratio:.2f} x",
            results.verdict(goal.met(ratio)),
        ]


if __name__ == "__main__":
    sys.exit(command.status(NAME, main))
