"""A machine in a control group of its own, and another user's: on real groups, in a software host.

The groups are mounted in a namespace of mounts, so nobody else in the software host sees them.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest

from bench.common import tiny_guest
from vestige.softhost import SoftHost

TIMEOUT = 90.0
RUN = [sys.executable, "-m", "vestige.cli.main", "run", "--accel", "kvm", "--timeout", "30"]
# Shows what a run has below /machines while it goes, ends it, and shows what is left.
SHOW = """
mount -t cgroup2 none /sys/fs/cgroup || exit 9
cd /sys/fs/cgroup
echo +memory +pids +cpu +io > cgroup.subtree_control
mkdir machines
mkfifo {said}
{run} --jail {jail} >{said} 2>{errors} & run=$!
exec 3<{said}
read -r line <&3  # the guest runs
for name in memory.max pids.max cpu.max; do
    echo $name $(cat machines/vestige-$run-*/$name)
done
kill $run; wait $run
echo status $?
ls -d machines/vestige-* 2>/dev/null
rmdir machines
"""


@pytest.fixture
def run(tmp_path: Path) -> str:
    """The words of a run of a guest that sleeps."""
    kernel = tmp_path / "kernel"
    tiny_guest.write_kernel(kernel)
    return shlex.join([*RUN, "--kernel", str(kernel), "--memory", "128M"])


def inside(softhost: SoftHost, script: str) -> tuple[str, str]:
    """Run a script inside, in a namespace of mounts; what it printed."""
    done = softhost.capture(["unshare", "--mount", "sh", "-c", script], timeout=TIMEOUT)
    return done.stdout.decode(), done.stderr.decode()


def test_a_machine_has_a_group_with_limits_from_its_size(
    softhost: SoftHost, run: str, tmp_path: Path
) -> None:
    errors, said = tmp_path / "errors", tmp_path / "said"
    jail = "require,uid=nobody,cgroup=/machines"
    out, _ = inside(softhost, SHOW.format(run=run, jail=jail, errors=errors, said=said))
    memory = 128 + 50 + 96 + 2  # MiB, and 3/4 MiB of the RAM's and the monitor's 64th
    found = dict(line.split(" ", 1) for line in out.splitlines())
    assert memory << 20 < int(found.pop("memory.max")) < memory + 1 << 20
    assert found == {"pids.max": "108", "cpu.max": "400000 100000", "status": "143"}
    assert errors.read_text() == ""


def test_a_group_that_has_processes_is_refused(softhost: SoftHost, run: str) -> None:
    script = (
        "mount -t cgroup2 none /sys/fs/cgroup; cd /sys/fs/cgroup;"
        " echo +memory +pids +cpu +io > cgroup.subtree_control; mkdir full;"
        f" echo $$ > full/cgroup.procs; {run} --jail cgroup=full; echo $?;"
        " echo $$ > cgroup.procs; rmdir full"
    )
    out, said = inside(softhost, script)
    assert out.split() == ["2"]
    assert re.fullmatch(r"vestige: --jail cgroup=full: processes are in it; [^\n]*\n", said)
