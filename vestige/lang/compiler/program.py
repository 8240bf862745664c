"""The functions to compile: where their source is, what they take and what they return."""

import ast
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn, get_origin

from vestige.lang.compiler.graph import Graph, Node
from vestige.lang.compiler.kinds import NAMES, Kind, evaluated, kind_of, results_of
from vestige.lang.errors import Refusal, Rule
from vestige.lang.records import Record, made_at

KINDS = f"{', '.join(NAMES)}, bool, an IntEnum, a Struct or an array T[n]"

OWNERS = (ctypes.Structure, Record)
GIVEN = (str, Record)  # what a parameter can't be at run time
MAX_SHOWN = 60  # letters of a record in a refusal

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class SourceFile:
    """One parsed Python file. `name` is relative to the folder its top package is in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = _package_root(path)
        self.name = str(path.relative_to(self.root))
        text = path.read_text(encoding="utf-8")
        self.lines = text.splitlines()
        self.functions = {
            (node.name, _first_line(node)): node for node in _definitions(ast.parse(text))
        }

    def refusal(self, node: Node | FunctionNode, rule: Rule, reason: str, cure: str) -> Refusal:
        """A refusal that points at `node`."""
        source = self.lines[node.lineno - 1]
        encoded = source.encode()
        column = len(encoded[: node.col_offset].decode()) + 1
        end = len(source)
        if node.end_lineno == node.lineno and node.end_col_offset is not None:
            end = len(encoded[: node.end_col_offset].decode())
        return Refusal(
            rule, reason, cure, file=self.name, line=node.lineno, column=column,
            source=source, width=end - column + 1,
        )  # fmt: skip


def _package_root(path: Path) -> Path:
    """The folder that the top package of `path` is in."""
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return root


def described(rows: dict[str, object]) -> str:
    """What the names of unrolled loops stand for, and where those records were made."""
    return "; ".join(f"{name} is {_shown(value)}" for name, value in rows.items())


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}…"
    if not isinstance(value, Record):
        return text
    file, line = made_at(value)
    path = Path(file).resolve()
    return f"{text}, made at {path.relative_to(_package_root(path))}:{line}"


def _definitions(scope: ast.Module | ast.stmt) -> Iterator[FunctionNode]:
    """The functions defined anywhere in `scope`, without a look at expressions."""
    for name in ("body", "orelse", "finalbody"):
        for node in getattr(scope, name, ()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node
            yield from _definitions(node)


def _first_line(node: FunctionNode) -> int:
    return node.decorator_list[0].lineno if node.decorator_list else node.lineno


@dataclass(slots=True)
class Parameter:
    """One parameter; `default` is a compile-time value, `REQUIRED` if there is none."""

    name: str
    kind: Kind
    default: object
    keyword_only: bool
    node: ast.arg


@dataclass(slots=True)
class Given:
    """A parameter that is a constant in each call: a record or a string, of class `type`."""

    name: str
    type: type
    default: object
    keyword_only: bool
    node: ast.arg


REQUIRED = object()
DECORATORS = ("at_callers_line", "cold")  # of vestige.lang.intrinsics


@dataclass(slots=True, eq=False)
class Function:
    """One function or method to compile; one of several if it is given constants."""

    python: FunctionType
    owner: type | None  # the Struct or the record's class, for a method
    source: SourceFile
    tree: FunctionNode
    symbol: str
    formal: list[Parameter | Given] = field(default_factory=list)  # as it is written
    parameters: list[Parameter] = field(default_factory=list)  # of them those of run time
    constants: dict[str, object] = field(default_factory=dict)  # what the others are here
    results: tuple[Kind, ...] = ()
    returns_tuple: bool = False
    never_returns: bool = False
    entry: bool = False  # called from outside, under its own name
    borrows_site: bool = False  # its checks PANIC at its caller's line
    cold: bool = False  # called seldom
    inlined: bool = False  # put into all its callers: see plan.py
    shared: bool = False  # called from another part of the program than its own
    flag_parameters: set[int] = field(default_factory=set)  # may be IntFlag members
    flag_results: set[int] = field(default_factory=set)
    graph: Graph | None = None

    @property
    def name(self) -> str:
        """The function as a person calls it: `Channel.write`."""
        return self.python.__qualname__.rpartition("<locals>.")[2]

    @property
    def given(self) -> list[Given]:
        """The parameters that are constants in each call."""
        return [parameter for parameter in self.formal if isinstance(parameter, Given)]

    def refusal(
        self,
        node: Node | FunctionNode,
        rule: Rule,
        reason: str,
        cure: str,
        rows: dict[str, object] | None = None,
    ) -> Refusal:
        """Why this function is refused, pointing at `node`; in which turn of unrolled loops."""
        refusal = self.source.refusal(node, rule, reason, cure)
        refusal.where = described(rows or {})
        return refusal


class Program:
    """Everything reachable from the entries, found as it is called."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.functions: dict[tuple[object, ...], Function] = {}
        self.waiting: list[Function] = []
        self._files: dict[str, SourceFile] = {}

    def function(self, python: Callable[..., Any], owner: type | None = None) -> Function:
        """The compiled side of a Python function; queued for compilation at first sight.

        One that is given constants is not: `with_constants` has what is compiled of it.
        """
        if not isinstance(python, FunctionType):
            raise TypeError(f"{python!r} is not a Python function")
        found = self.functions.get((python,))
        if found is None:
            found = self.functions[python,] = self._declare(python, owner)
            if not found.given:
                self.waiting.append(found)
        return found

    def with_constants(self, function: Function, constants: dict[str, object]) -> Function:
        """`function` where it is given these constants."""
        if not function.given:
            return function
        values = [constants[parameter.name] for parameter in function.given]
        # Records by what they are, not what they equal: `is` tells them apart.
        key = (function.python, *(item if isinstance(item, str) else id(item) for item in values))
        found = self.functions.get(key)
        if found is None:
            found = self.functions[key] = self._declare(function.python, function.owner)
            found.constants = constants
            self.waiting.append(found)
        return found

    def _declare(self, python: FunctionType, owner: type | None) -> Function:
        code = python.__code__
        source = self._file(code.co_filename)
        tree = source.functions.get((code.co_name, code.co_firstlineno)) if source else None
        if source is None or tree is None:
            raise Refusal(
                Rule.SOURCE,
                f"the source of {python.__qualname__} can't be found",
                "define it with def in a module file that is not edited while it runs",
                file=code.co_filename, line=code.co_firstlineno, column=1,
            )  # fmt: skip
        # A qualified name may be defined anew: the number tells such functions apart.
        symbol = f"{python.__module__}.{python.__qualname__}.{len(self.functions)}"
        function = Function(python, owner or _owner(python), source, tree, symbol)
        function.borrows_site = getattr(python, "panics_at_caller", False)
        function.cold = getattr(python, "is_cold", False)
        _read_signature(function)
        return function

    def _file(self, name: str) -> SourceFile | None:
        if name not in self._files:
            try:
                self._files[name] = SourceFile(Path(name).resolve())
            except (OSError, SyntaxError, UnicodeDecodeError):
                return None
        return self._files[name]


def _owner(python: FunctionType) -> type | None:
    """The Struct or record's class a method belongs to, found by its qualified name."""
    *path, _ = python.__qualname__.rpartition("<locals>.")[2].split(".")
    scope: Any = python.__globals__
    for name in path:
        scope = scope.get(name) if isinstance(scope, dict) else vars(scope).get(name)
        if scope is None:
            return None
    return scope if isinstance(scope, type) and issubclass(scope, OWNERS) else None


def _evaluated(function: Function, name: str) -> object:
    annotation = function.python.__annotations__.get(name, REQUIRED)
    if isinstance(annotation, str):
        return evaluated(annotation, function.python.__globals__)
    return annotation


def _read_signature(function: Function) -> None:
    """Fill in parameters and results; refuse what has no compiled form."""
    python, tree = function.python, function.tree
    if isinstance(tree, ast.AsyncFunctionDef):
        raise function.refusal(
            tree, Rule.STATEMENT, "async has no compiled form", "write a plain function"
        )
    if python.__closure__:
        names = ", ".join(python.__code__.co_freevars)
        raise function.refusal(
            tree, Rule.CLOSURE, f"{function.name} takes {names} from an enclosing function",
            "pass it as an argument, or make it a module constant",
        )  # fmt: skip
    for decorator in tree.decorator_list:
        if not (isinstance(decorator, ast.Name) and decorator.id in DECORATORS):
            raise function.refusal(
                decorator, Rule.CALL, "decorators have no compiled form", "write a plain function"
            )
    extra = tree.args.vararg or tree.args.kwarg
    if extra is not None:
        raise function.refusal(
            extra, Rule.ARGUMENTS, "* and ** parameters have no compiled form",
            "name each parameter",
        )  # fmt: skip
    _read_parameters(function)
    annotation = _evaluated(function, "return")
    results = results_of(annotation)
    if results is None:
        reason = "has no return annotation" if annotation is REQUIRED else "returns no known type"
        raise function.refusal(
            tree.returns or tree, Rule.ANNOTATION, f"{function.name} {reason}",
            f"annotate it: None, {KINDS}, or tuple[…] of these",
        )  # fmt: skip
    function.results, function.never_returns = results, annotation is NoReturn
    function.returns_tuple = get_origin(annotation) is tuple


def _read_parameters(function: Function) -> None:
    python, arguments = function.python, function.tree.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = python.__defaults__ or ()
    required = len(positional) - len(defaults)
    for position, node in enumerate([*positional, *arguments.kwonlyargs]):
        keyword_only = position >= len(positional)
        if keyword_only:
            default = (python.__kwdefaults__ or {}).get(node.arg, REQUIRED)
        else:
            default = defaults[position - required] if position >= required else REQUIRED
        annotation = _evaluated(function, node.arg)
        if annotation is REQUIRED and position == 0 and function.owner is not None:
            annotation = function.owner
        if isinstance(annotation, type) and issubclass(annotation, GIVEN):
            given = Given(node.arg, annotation, default, keyword_only, node)
            function.formal.append(given)
            continue
        kind = None if annotation is REQUIRED else kind_of(annotation)
        if kind is None:
            what = "has no annotation" if annotation is REQUIRED else "has no width"
            if isinstance(annotation, type) and not issubclass(annotation, int):
                what = f"is a {annotation.__name__}"
            raise function.refusal(
                node, Rule.ANNOTATION, f"parameter {node.arg} {what}",
                f"annotate it: {KINDS}, a Record or str",
            )  # fmt: skip
        parameter = Parameter(node.arg, kind, default, keyword_only, node)
        function.formal.append(parameter)
        function.parameters.append(parameter)
