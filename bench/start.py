"""How long from exec to a guest's first instruction and to its init, and in how much memory.

    python -m bench.start [--rounds 9] [--boots 5]

Vestige against QEMU's microvm with all its legacy off, in turns. Each is started with a pipe as
its standard output, and killed when the first byte comes out of it. The guest's program writes
that byte to port 0x3F8, which is Vestige's UART and QEMU's isa-debugcon. So the time is from just
before exec to the program's first effect outside: all there is in between, and no tear-down.

"first instruction": the program is the guest's kernel, and the byte is what its first three
instructions do. QEMU runs its firmware before; "at reset" is QEMU with the program in place of
its firmware. Both natively, where KVM runs such a program, and in a software host.
"init": the program is the init of Debian's cloud kernel. In a software host only. QEMU also with
its RTC: without one, its tables still promise it, and Linux waits for its answer for seconds.

Memory: the most that was resident until then, less the guest RAM that is. Prints a table and
writes bench/results/start.json.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from bench.common import tiny_guest
from bench.common.tiny_guest import INIT, INIT_ADDRESS, SIGNAL, VESTIGE, elf, qemu

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
MEMORY = 512 << 20
LIMIT = 240.0  # seconds, of one start
# No console: what Linux prints on one costs each in its own way.
APPEND = "quiet panic=-1"

OURS, THEIRS = "Vestige", "QEMU microvm"
AT_RESET, WITH_RTC = f"{THEIRS}, at reset", f"{THEIRS}, with RTC"
COLOURS = {OURS: "tab:green"} | dict.fromkeys((THEIRS, AT_RESET, WITH_RTC), "tab:gray")
NATIVE, INSIDE, BOOT = "native", "software host", "Linux in the software host"
GOALS = (  # what is reached there, and the most it may take of QEMU's time
    (NATIVE, "first instruction", 0.35),
    (INSIDE, "first instruction", 0.35),
    (BOOT, "init", 0.6),
)
RESIDENT = 15  # MiB beyond guest RAM
TIME, MEMORY_USED = "time", "memory"
UNITS = {TIME: "ms", MEMORY_USED: "MiB"}
Places = dict[str, list[dict[str, float]]]  # by who starts; ms and MiB of each round
ENVIRONMENT = os.environ | {"XDG_CACHE_HOME": str(WORK / "cache")}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="of starts (default 9)")
    parser.add_argument("--boots", type=int, default=5, help="rounds of boots (default 5)")
    parser.add_argument("--inside", nargs=2, metavar="PATH", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(in_the_software_host(options.rounds, options.boots, *options.inside)))
        return 0
    report(prepared(options))
    return 0


def prepared(options: argparse.Namespace) -> dict[str, Places]:
    """Everything measured, by place; the compiled images are in a cache of the benchmark's own."""
    WORK.mkdir(parents=True, exist_ok=True)
    command = [VESTIGE[0], "build"]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=LIMIT)
    return {NATIVE: first_instructions(options.rounds), **outside(options)}


def outside(options: argparse.Namespace) -> dict[str, Places]:
    """Prepare a guest and measure in a software host."""
    from tests.guests import kernels  # noqa: PLC0415 - not needed inside
    from vestige.softhost import SoftHost  # noqa: PLC0415
    from vestige.softhost.cpio import Archive  # noqa: PLC0415

    archive = Archive()
    archive.file("init", elf(INIT, INIT_ADDRESS), executable=True)
    initrd = WORK / "init.cpio"
    initrd.write_bytes(archive.finish())
    argv = [sys.executable, "-m", "bench.start", "--rounds", str(options.rounds)]
    argv += ["--boots", str(options.boots), "--inside"]
    argv += [str(kernels.kernel("cloud").bzimage), str(initrd)]
    with SoftHost() as host:
        done = host.capture(argv, timeout=3600, cwd=ROOT)
    if done.status:
        raise SystemExit(f"start: {done.stderr.decode(errors='replace')}")
    measured: dict[str, Places] = json.loads(done.stdout)
    return measured


def in_the_software_host(rounds: int, boots: int, kernel: str, initrd: str) -> dict[str, Places]:
    """Inside: the little programs, then Linux."""
    guest = ("--kernel", kernel, "--initrd", initrd, "--append", APPEND)
    theirs = ("-kernel", kernel, "-initrd", initrd, "-append", APPEND)
    commands = {
        OURS: (*VESTIGE, *guest),
        THEIRS: (*qemu(MEMORY), *theirs),
        WITH_RTC: (*qemu(MEMORY, rtc=True), *theirs),
    }
    return {
        INSIDE: first_instructions(rounds),
        BOOT: in_turns(commands, boots),
    }


def first_instructions(rounds: int) -> Places:
    """Start the little programs; seconds and bytes by who starts them."""
    WORK.mkdir(parents=True, exist_ok=True)
    kernel, firmware = WORK / "first.elf", WORK / "first.rom"
    tiny_guest.write_kernel(kernel)
    tiny_guest.write_firmware(firmware)
    commands = {
        OURS: (*VESTIGE, "--kernel", str(kernel)),
        THEIRS: (*qemu(MEMORY), "-kernel", str(kernel)),
        AT_RESET: (*qemu(MEMORY), "-bios", str(firmware)),
    }
    return in_turns(commands, rounds)


def in_turns(commands: dict[str, tuple[str, ...]], rounds: int) -> Places:
    """Each command once a round; the first round fills caches and does not count."""
    starts: Places = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            start = started(command)
            if number:
                starts[name].append(start)
    return starts


def started(command: tuple[str, ...]) -> dict[str, float]:
    """Run `command` until its first byte; the time until then, its memory then."""
    output, its_output = os.pipe()
    errors = WORK / "errors"
    began = time.monotonic()
    with errors.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=its_output, stderr=file, env=ENVIRONMENT
        )
    os.close(its_output)
    ready, _, _ = select.select([output], [], [], LIMIT)
    seconds = time.monotonic() - began
    byte = os.read(output, 1) if ready else b""
    size = beyond_guest_memory(process.pid) if byte else 0
    process.kill()
    process.wait()
    os.close(output)
    if byte != SIGNAL:
        raise SystemExit(f"{' '.join(command)}: {errors.read_text(errors='replace')}")
    return {TIME: round(1000 * seconds, 2), MEMORY_USED: round(size / (1 << 20), 2)}


def beyond_guest_memory(pid: int) -> int:
    """The most bytes process `pid` had resident, less the guest RAM it has resident now."""
    guest, mapping = 0, 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *words = line.split()
        if name == "Size:":
            mapping = int(words[0]) << 10
        elif name == "Rss:" and mapping >= MEMORY:
            guest += int(words[0]) << 10
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return (int(line.split()[1]) << 10) - guest
    raise SystemExit(f"process {pid} has no memory")


def report(measured: dict[str, Places]) -> None:
    """JSON, a plot, and the table in docs/performance.md."""
    from bench.common import plot, results  # noqa: PLC0415 - not needed inside

    rows, panels = [], []
    for place, what, bound in GOALS:
        rounds = measured[place]
        goals = {TIME: f"at most {bound} of QEMU's", MEMORY_USED: f"under {RESIDENT} MiB"}
        for measure, unit in UNITS.items():
            medians = {name: results.median(rounds, name, measure) or 0.0 for name in rounds}
            values = {name: [each[measure] for each in rounds[name]] for name in rounds}
            panels.append(plot.Panel(f"{place}: {measure} to {what}", unit, values, medians))
            for other in (name for name in rounds if name != OURS):
                ratio = results.ratio(rounds, results.Goal(measure, OURS, other, bound))
                met = ratio <= bound if measure == TIME else medians[OURS] < RESIDENT
                figures = [f"{results.number(medians[name])} {unit}" for name in (OURS, other)]
                verdict = f"{goals[measure]}: {'met' if met else '**missed**'}"
                rows.append((f"{place}: {what}", other, *figures, f"{ratio:.2f}", verdict))
    results.write_json("start", measured)
    plot.bars(results.RESULTS / "start.svg", "From exec to a guest", panels, COLOURS)
    lines = results.table(("", "against", "Vestige", "QEMU", "ratio", "goal"), rows)
    results.write_section("start", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
