"""Calls of what plug-ins add, during a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gangraph.errors import RunError, Span
from gangraph.registry import plugin_fault


@contextmanager
def telling(what: str, span: Span, function: Callable[..., Any]) -> Iterator[None]:
    """A context that reports what a plug-in's function raises, with its place in the spec. Other errors pass.

    Args:
        what: what is called, as the beginning of a sentence that goes on with the plug-in's module.

    Raises:
        RunError: the function is a plug-in's, and raised something.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # a plug-in can raise anything
        failed, said = plugin_fault(error, f"{what} {{}} fails", function)
        raise RunError(f"{span}: {failed}: {said}") from error
