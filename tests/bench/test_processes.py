"""What is guest RAM in a process's memory; which processes a run has."""

import subprocess

from bench.inside import processes

MIB = 1 << 20
SMAPS = """\
1cc59ca00000-1cc59cc00000 rw-p 00000000 00:00 0
Size:               2048 kB
Rss:                 300 kB
VmFlags: rd wr mr mw me ac
1cc59cc00000-1cc59ce00000 rw-p 00000000 00:00 0
Size:               2048 kB
Rss:                 816 kB
1cc59ce00000-1cc5bcc00000 rw-p 00000000 00:00 0
Size:             522240 kB
Rss:                4096 kB
7fc7850f5000-7fc785331000 r-xp 000f5000 fe:00 26933                      /usr/bin/with a blank
Size:               2288 kB
Rss:                2092 kB
"""


def test_a_pcs_first_megabytes_are_guest_ram_too() -> None:
    mappings = processes._mappings(SMAPS)
    assert [each.resident >> 10 for each in mappings] == [300, 816, 4096, 2092]
    assert mappings[3].name == "/usr/bin/with a blank"
    assert processes._guest_memory(mappings, 512 * MIB) >> 10 == 300 + 816 + 4096


def test_what_is_apart_from_guest_ram_is_none() -> None:
    first, *others = processes._mappings(SMAPS)
    apart = [first._replace(end=first.end - 4096), *others]
    assert processes._guest_memory(apart, 512 * MIB) >> 10 == 816 + 4096
    named = [first._replace(name="/a/file"), *others]
    assert processes._guest_memory(named, 512 * MIB) >> 10 == 816 + 4096


def test_a_run_has_all_processes_that_its_own_have_started() -> None:
    script = "echo $$; sh -c 'echo $$; read line; :'; :"  # the colons keep exec away
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        first, second = (int(run.stdout.readline()) for _ in range(2))
        assert processes.tree(first) == [first, second]
        run.communicate("\n")
