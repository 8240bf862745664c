"""What the tests of the language share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lang.snippets import functions, load
from vestige.lang.build import compile_functions
from vestige.lang.native import NativeImage

Both = Callable[..., Any]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """Compile a source; call its `f` in CPython and compiled; they must agree.

    A first argument that is not given is a new struct of the type it is annotated with.
    """

    def run(source: str, *inputs: tuple[int, ...]) -> list[Any]:
        module = load(source, tmp_path)
        native = NativeImage(
            compile_functions(functions(source, module), base=None, runtime="process")
        )
        answers = []
        for values in inputs or ((),):
            structs: list[tuple[Any, ...]] = [(), ()]
            if len(values) < module.f.__code__.co_argcount:
                kind = next(iter(module.f.__annotations__.values()))
                structs = [(kind(),), (kind(),)]
            here, there = structs
            expected = module.f(*here, *values)
            found = native["f"](*there, *values)
            assert found == expected
            assert [bytes(struct) for struct in here] == [bytes(struct) for struct in there]
            answers.append(found)
        return answers

    return run
