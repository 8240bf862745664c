"""Teach mypy that `u8[512]` and `Drive[2]` in an annotation are `Array[int]` and `Array[Drive]`."""

from collections.abc import Callable
from functools import partial

from mypy.nodes import TypeInfo
from mypy.plugin import AnalyzeTypeContext, Plugin
from mypy.types import RawExpressionType, Type, UnboundType

TYPES = "vestige.lang.types"
INTEGERS = {f"{TYPES}.{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64)}


def analyze(element: str, context: AnalyzeTypeContext) -> Type:
    """The type named `element`, or an Array of it where the annotation is `T[n]`."""
    kind = context.api.named_type(element, [])
    arguments = context.type.args if isinstance(context.type, UnboundType) else ()
    if not arguments:
        return kind
    length = arguments[0]
    if len(arguments) != 1 or not isinstance(length, RawExpressionType):
        context.api.fail("an array's length is one integer literal: u8[512]", context.context)
    return context.api.named_type(f"{TYPES}.Array", [kind])


class TypedPython(Plugin):
    """The plugin itself: hooks the annotations of integers and Structs, nothing else."""

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        """The hook for one annotated name, by its full name."""
        if fullname in INTEGERS:
            return partial(analyze, "builtins.int")
        symbol = self.lookup_fully_qualified(fullname)
        if symbol is not None and isinstance(symbol.node, TypeInfo):
            if symbol.node.has_base(f"{TYPES}.Struct"):
                return partial(analyze, fullname)
        return None


def plugin(_version: str) -> type[Plugin]:
    """mypy's entry point; the argument is mypy's own version."""
    return TypedPython
