"""Object files of a program's parts, each part compiled in a process of its own but the last.

LLVM's binding holds one lock for all threads of a process.
"""

from collections.abc import Sequence
from contextlib import ExitStack

from vestige.lang.apart import Apart, serve
from vestige.lang.compiler.llvm import object_file


def object_files(texts: Sequence[str]) -> list[bytes]:
    """Compile modules' texts, at the same time. Raises UsageError where a process fails."""
    *others, last = texts  # of two parts the second takes longer, and a process has to start first
    with ExitStack() as stack:
        started = [stack.enter_context(Apart(__name__, text.encode())) for text in others]
        compiled = object_file(last)
        return [*(each.result() for each in started), compiled]


if __name__ == "__main__":
    serve(lambda data: object_file(data.decode()))
