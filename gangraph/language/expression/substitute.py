"""Expressions in the place of names."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from gangraph.language.expression.model import Expression, Name


def substitute(given: Mapping[str, Expression], node: Any) -> Any:
    """An expression with others in the place of names. What is called keeps its name."""
    if isinstance(node, Name):
        return given.get(node.id, node)
    if isinstance(node, tuple):
        return tuple(substitute(given, each) for each in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    inner = {each.name: getattr(node, each.name) for each in fields(node) if each.name not in ("span", "function")}
    return replace(node, **{name: substitute(given, each) for name, each in inner.items()})
