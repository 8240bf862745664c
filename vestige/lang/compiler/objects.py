"""Object files of a program's parts, each part compiled in a process of its own but the first.

LLVM's binding holds one lock for all threads of a process.
"""

from collections.abc import Sequence
from contextlib import ExitStack

from vestige.lang.apart import Apart, serve
from vestige.lang.compiler.llvm import object_file


def object_files(texts: Sequence[str]) -> list[bytes]:
    """Compile modules' texts, at the same time. Raises UsageError where a process fails."""
    first, *others = texts
    with ExitStack() as stack:
        started = [stack.enter_context(Apart(__name__, text.encode())) for text in others]
        return [object_file(first), *(each.result() for each in started)]


if __name__ == "__main__":
    serve(lambda data: object_file(data.decode()))
