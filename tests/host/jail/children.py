"""A child that puts layers of the jail on, and tells what it finds."""

import json
import os
from collections.abc import Callable
from typing import Any

from vestige.host.jail import namespaces


def told_by_a_child(work: Callable[[], Any], *, apart: bool = False) -> Any:
    """What `work` answers in a fork, as JSON has it; `apart`: in namespaces of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # A namespace's fork wants a process of one thread, as this one is now.
            inner = namespaces.fork().pid if apart else 0
            if inner:
                status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
            else:
                os.write(write, json.dumps(work()).encode())
                status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(text)
