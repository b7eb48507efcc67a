"""docs/errors.md: every code with its meaning."""

from gangraph.codes import CODES

_STAGES = {
    "GG1": "Reading the text",
    "GG2": "The shape of a spec",
    "GG3": "Names, calls and numbers",
    "GG4": "Shapes",
    "GG5": "Gradients",
    "GG6": "Lints",
}
_HEAD = """# Errors and lints

<!-- Made from gangraph/codes.py by gangraph.views.errors_page. -->

Every problem of a spec is in one report, each with its place, what was found, what was expected and the nearest fix.
Codes are stable. Errors (GG1xx to GG5xx) stop a spec; lints (GG6xx) are warnings about specs that are valid and most
likely not what their author wants. For each code, `tests/errors/` holds a broken spec and the message it gives.
"""


def errors_page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for prefix, title in _STAGES.items():
        parts.append(f"## {title}\n")
        parts += [
            f"### {name}: {code.title}\n\n{code.reason}\n" for name, code in CODES.items() if name.startswith(prefix)
        ]
    return "\n".join(parts)
