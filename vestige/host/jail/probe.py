"""Which layers of the jail this machine has: a process tries to put on all of them."""

import os

from vestige.host.jail import landlock, layers, namespaces
from vestige.host.process.link import Kind, pair

NAMES = (
    layers.NAMESPACES,
    layers.FILES,
    layers.LANDLOCK,
    layers.CAPABILITIES,
    layers.SECCOMP,
)
CORE_SCHEDULING = "core scheduling"


def problems(program: bytes | None) -> dict[str, str]:
    """Why a layer is off, by its name; `program` is the filter of system calls.

    Raises OSError where no process can be had.
    """
    near, far = pair()
    forked = namespaces.fork()
    if forked.pid == 0:
        try:
            far.take_place()
            put_on = layers.Layers(forked.problem)
            put_on.leave_everything()
            put_on.confine(program)
            for name, problem in put_on.problems.items():
                far.send_text(Kind.LINES, f"{name}\n{problem}")
        finally:
            os._exit(0)  # whatever happens, this is not the caller
    far.close()
    os.waitpid(forked.pid, 0)
    found = {}
    for message in near.waiting():
        if message is not None:
            name, _, problem = message[1].decode().partition("\n")
            found[name] = problem
    near.close()
    return found


def there(found: dict[str, str]) -> str:
    """The layers that are there, of what `problems` found, in words."""
    names = [name for name in NAMES if name not in found]
    words = [f"{name} {landlock.version()}" if name == layers.LANDLOCK else name for name in names]
    return ", ".join([*words, *([CORE_SCHEDULING] if layers.schedules_by_core() else [])])
