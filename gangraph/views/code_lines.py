"""Lines of printed code: what values are called in it, and how lines are broken, spaced and put under a condition."""

import re
import textwrap
from collections.abc import Iterable, Iterator

from gangraph.graph.code_names import value_name
from gangraph.views.code_given import RESERVED
from gangraph.views.spec import WIDTH


def code_name(name: str) -> str:
    """What code calls a value or a segment: `down[3]` is `down_3`, and `a+b` is `a_and_b`."""
    called = value_name(name.replace("+", "_and_"))
    return f"{called}_" if called in RESERVED else called


def under_condition(lines: Iterable[str], condition: str, indent: str) -> Iterator[str]:
    """Lines, under a condition if there is one."""
    if condition:
        yield f"{indent}if {condition}:"
    yield from (f"{indent}{'    ' if condition else ''}{line}" for line in lines)


def call_lines(head: str, arguments: list[str], tail: str) -> Iterator[str]:
    """`head(arguments)tail`, on several lines where one is too long."""
    line = f"{head}({', '.join(arguments)}){tail}"
    if len(line) <= WIDTH:
        yield line
        return
    indent = " " * (len(head) - len(head.lstrip()))
    yield f"{head}("
    inside = textwrap.wrap(", ".join(arguments) + ",", WIDTH, break_long_words=False)
    yield from (f"{indent}    {each}" for each in inside)
    yield f"{indent}){tail}"


def spaced(line: str) -> str:
    """Spacing as PEP 8 has it, and no parentheses around what is returned."""
    if re.match(r"\s*return\s", line):
        inside = line.strip().removeprefix("return").strip()
        return f"    return {inside.removeprefix('(').removesuffix(')').rstrip(',')}".rstrip()
    name, equals, value = line.partition(" = ")
    return name + equals + value.replace(" = ", "=")
