"""What each instruction makes of intervals, and what is refused because of them.

Operations that need the value itself, not just its low 64 bits, are refused where the value
may leave 64 bits; so are divisions, shifts and indices that can only fail.
"""

import ast
from collections.abc import Callable
from typing import Any

from vestige.lang.compiler import graph
from vestige.lang.compiler import intervals as rules
from vestige.lang.compiler.graph import Instruction, Local
from vestige.lang.compiler.intervals import MAX_SHIFT, UNSIGNED, Interval, number
from vestige.lang.compiler.kinds import Integer
from vestige.lang.compiler.program import Function
from vestige.lang.errors import Rule

State = dict[Local, Interval]  # the assigned locals; references have a meaningless interval
WRAP = "wrap it: u64(…), or mask it: … & 0xFFFF"


class TransferFunctions:
    """The rules, applied to the instructions of one function."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._rules: dict[type[Instruction], Callable[[Any, State], Interval | None]] = {
            graph.Constant: lambda node, _: Interval(node.value, node.value, node.flag),
            graph.ReadLocal: self._read,
            graph.WriteLocal: self._write,
            graph.StartCounter: self._start_counter,
            graph.Binary: self._binary,
            graph.Unary: self._unary,
            graph.Compare: self._compare,
            graph.Member: self._member,
            graph.Extreme: self._extreme,
            graph.Wrap: self._wrap,
            graph.Plain: lambda node, _: Interval(*node.value.interval[:2]),
            graph.Fit: self._fit,
            graph.ElementAddress: self._element,
            graph.TableLoad: self._table,
            graph.Load: lambda node, _: node.kind.interval,
            graph.Call: lambda node, _: _result(node.function, 0),
            graph.Extract: lambda node, _: _result(node.call.function, node.position),
            graph.Intrinsic: lambda node, _: node.result.interval if node.result else None,
            graph.Branch: self._branch,
            graph.End: self._end,
        }

    def apply(self, instruction: Instruction, state: State) -> None:
        """Find what `instruction` gives in `state`; change the state as it does."""
        rule = self._rules.get(type(instruction))
        if rule is not None:
            interval = rule(instruction, state)
            if interval is not None:
                instruction.interval = interval

    def _need(self, value: Instruction) -> Interval:
        """The interval of a value that must be known exactly."""
        if not value.interval.fits:
            raise self.function.refusal(
                value.node, Rule.WIDE,
                f"this may be anywhere in {value.interval}, more than 64 bits", WRAP,
            )  # fmt: skip
        return value.interval

    # ---- locals --------------------------------------------------------------------------------
    def _read(self, node: graph.ReadLocal, state: State) -> Interval:
        local = node.local
        if local not in state:
            raise self.function.refusal(
                node.node, Rule.UNASSIGNED,
                f"{local.name} is not assigned on every way that leads here",
                f"assign {local.name} before the branch or the loop",
            )  # fmt: skip
        interval = state[local]
        if local.name and local.reference is None and not interval.fits:
            raise self.function.refusal(
                node.node, Rule.WIDE,
                f"{local.name} may be negative on one way and 2**63 or more on another",
                "wrap one of the values: u64(…) or i64(…)",
            )  # fmt: skip
        return interval

    def _write(self, node: graph.WriteLocal, state: State) -> None:
        name, interval = node.local.name, node.value.interval
        if name and node.local.reference is None and not interval.fits:
            raise self.function.refusal(
                node.node, Rule.WIDE, f"{name} may be anywhere in {interval}, more than 64 bits",
                f"wrap the value: {name} = u64(…); or compare it before",
            )  # fmt: skip
        state[node.local] = node.value.interval

    def _start_counter(self, node: graph.StartCounter, state: State) -> None:
        start, stop, step = self._need(node.start), self._need(node.stop), node.step
        if step > 0:
            interval = Interval(start.low, max(start.high, stop.high - 1 + step))
        else:
            interval = Interval(min(start.low, stop.low + 1 + step), start.high)
        if not interval.join(stop).fits:
            raise self.function.refusal(
                node.node, Rule.LOOP,
                f"the counter may be anywhere in {interval}, more than 64 bits",
                "bound the range: range(u32(…)), or start at 0",
            )  # fmt: skip
        state[node.local] = interval

    # ---- arithmetic ----------------------------------------------------------------------------
    def _binary(self, node: graph.Binary, _state: State) -> Interval:
        left, right = node.left.interval, node.right.interval
        if node.operator in ("//", "%"):
            self._check_division(node)
        elif node.operator == "<<":
            right = self._check_shift(node)
            if right.high > MAX_SHIFT:
                raise self.function.refusal(
                    node.right.node, Rule.SHIFT,
                    f"the shift count may be as much as {number(right.high)}",
                    "mask it: x << (n & 63)",
                )  # fmt: skip
        elif node.operator == ">>":
            self._need(node.left)
            right = self._check_shift(node)
        result = rules.BINARY[node.operator](left, right)
        if result.flag and result.low < 0:
            raise self.function.refusal(
                node.node, Rule.FLAG, f"this may be negative, {result}, and in CPython an IntFlag "
                "can't: it would become positive", "wrap the other operand: u32(…)",
            )  # fmt: skip
        return result

    def _check_division(self, node: graph.Binary) -> None:
        left, right = self._need(node.left), self._need(node.right)
        if right.low == right.high == 0:
            raise self.function.refusal(
                node.right.node, Rule.ZERO_DIVISION, "this divides by zero",
                "divide by something else",
            )  # fmt: skip
        signed = left.fits_signed and right.fits_signed
        if not signed and not (left.fits_unsigned and right.fits_unsigned):
            raise self.function.refusal(
                node.node, Rule.WIDE,
                f"a division of {left} by {right} mixes negative values and 2**63 or more",
                "wrap both sides: u64(…) or i64(…)",
            )  # fmt: skip

    def _check_shift(self, node: graph.Binary) -> Interval:
        """The counts that don't fail: at least 0."""
        counts = self._need(node.right)
        positive = counts.meet(0, counts.high)
        if positive is None:
            raise self.function.refusal(
                node.right.node, Rule.SHIFT, f"the shift count is negative: {counts}",
                "shift the other way",
            )  # fmt: skip
        return positive

    def _unary(self, node: graph.Unary, _state: State) -> Interval:
        operand = node.operand.interval
        if node.operator == "-":
            return rules.negate(operand)
        if operand.flag:
            raise self.function.refusal(
                node.node, Rule.FLAG,
                "~ of an IntFlag keeps only the flag's own bits in CPython",
                f"invert the integer: ~int({ast.unparse(node.operand.node)})",
            )  # fmt: skip
        return rules.invert(operand)

    def _compare(self, node: graph.Compare, _state: State) -> Interval:
        return rules.compare(node.operator, self._need(node.left), self._need(node.right))

    def _member(self, node: graph.Member, _state: State) -> Interval:
        self._need(node.value)
        return rules.BOOLEAN

    def _extreme(self, node: graph.Extreme, _state: State) -> Interval:
        left, right = self._need(node.left), self._need(node.right)
        choose = min if node.operator == "<" else max
        low, high = choose(left.low, right.low), choose(left.high, right.high)
        return Interval(low, high, left.flag or right.flag)

    def _wrap(self, node: graph.Wrap, _state: State) -> Interval:
        return rules.wrap(node.value.interval, node.kind.interval, node.kind.bits)

    def _fit(self, node: graph.Fit, _state: State) -> Interval:
        found = node.value.interval
        if not found.within(node.kind.interval):
            raise self.function.refusal(
                node.node, Rule.NARROW,
                f"{node.what} is {found} and may not fit {node.kind.name}", node.cure,
            )  # fmt: skip
        if node.kind.interval.flag and found.flag is False:
            return Interval(found.low, found.high, flag=True)
        return found

    # ---- indices -------------------------------------------------------------------------------
    def _check_index(self, index: Instruction, length: int, state: State) -> Interval:
        found = self._need(index)
        inside = found.meet(0, length - 1)
        if found.low < 0 or inside is None:
            what = "may be negative" if found.low < 0 else f"is outside an array of {length}"
            raise self.function.refusal(
                index.node, Rule.INDEX, f"the index {what}: it is {found}",
                "wrap it: u32(…), mask it, or compare it before" if found.low < 0
                else f"use 0 to {length - 1}",
            )  # fmt: skip
        if isinstance(index, graph.ReadLocal):
            state[index.local] = inside  # else there was a PANIC
        return inside

    def _element(self, node: graph.ElementAddress, state: State) -> Interval:
        self._check_index(node.index, node.length, state)
        return UNSIGNED

    def _table(self, node: graph.TableLoad, state: State) -> Interval:
        inside = self._check_index(node.index, len(node.table), state)
        items = node.table[inside.low : inside.high + 1]
        return Interval(min(items), max(items))

    def _branch(self, node: graph.Branch, _state: State) -> None:
        self._need(node.condition)

    def _end(self, node: graph.End, _state: State) -> None:
        if self.function.results or self.function.never_returns:
            raise self.function.refusal(
                node.node, Rule.RETURN, f"{self.function.name} can end here without returning",
                "return a value on every way, or end with panic(…)",
            )  # fmt: skip


def _result(function: Function, position: int) -> Interval:
    kind = function.results[position] if function.results else None
    if not isinstance(kind, Integer):
        return UNSIGNED
    low, high, flag = kind.interval
    return Interval(low, high, flag or position in function.flag_results)
