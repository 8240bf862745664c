"""Teach mypy that `u8[512]` and `Drive[2]` in an annotation are `Array[int]` and `Array[Drive]`."""

from collections.abc import Callable
from functools import partial

from mypy.nodes import PlaceholderNode, TypeInfo, Var
from mypy.plugin import AnalyzeTypeContext, Plugin
from mypy.typeanal import TypeAnalyser
from mypy.types import RawExpressionType, Type, UnboundType, get_proper_type, is_named_instance

TYPES = "vestige.lang.types"
INTEGERS = {f"{TYPES}.{sign}{bits}" for sign in "ui" for bits in (8, 16, 32, 64)}


def analyze(element: str, context: AnalyzeTypeContext) -> Type:
    """The type named `element`, or an Array of it where the annotation is `T[n]`."""
    kind = context.api.named_type(element, [])
    arguments = context.type.args if isinstance(context.type, UnboundType) else ()
    if not arguments:
        return kind
    if len(arguments) != 1 or not _is_length(arguments[0], context):
        context.api.fail(
            "an array's length is one integer, or a constant's name: u8[512], u8[SECTOR]",
            context.context,
        )
    return context.api.named_type(f"{TYPES}.Array", [kind])


def _is_length(length: Type, context: AnalyzeTypeContext) -> bool:
    """Whether it is an integer literal, or the name of a variable that may be an integer."""
    if isinstance(length, RawExpressionType):
        return isinstance(length.literal_value, int)
    if not isinstance(length, UnboundType) or not isinstance(context.api, TypeAnalyser):
        return False
    symbol = context.api.lookup_qualified(length.name, length)
    if symbol is None or isinstance(symbol.node, PlaceholderNode):
        return True  # mypy reports an unknown name itself, and asks again about one not yet known
    if not isinstance(symbol.node, Var):
        return False
    declared = get_proper_type(symbol.node.type)
    return declared is None or is_named_instance(declared, "builtins.int")


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
