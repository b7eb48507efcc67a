"""What a lint finds."""

from gangraph.errors import Problem, Span


def warn(code: str, message: str, span: Span, found: str = "", fix: str = "") -> Problem:
    """A problem that does not stop a spec."""
    return Problem(code=code, message=message, span=span, found=found, fix=fix, severity="warning")
