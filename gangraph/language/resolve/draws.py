"""What a network draws: checks of `draw:` in its definition and of `draw=` in calls of it."""

from collections.abc import Sequence

from gangraph.errors import nearest, refuse
from gangraph.language.document import schema
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import NetworkSpec

_HOW = {"once": True, "each": False}  # whether all calls of a network share their draws


def draws_once(template: str, made: NetworkSpec, written: Expression) -> bool:
    """Whether `draw=` in the call of a network says that all calls of it share their draws. Raises SpecError."""
    how = written.value if isinstance(written, ast.Literal) else None
    if how not in _HOW:
        refuse(
            "GG596",
            "how often a network draws is not written like this",
            written.span,
            found=ast.unparse(written),
            expected='draw="each", anew at each place where it is called, or draw="once", for all of them',
            fix=nearest(str(how or ast.unparse(written)), _HOW),
        )
    if not made.draws:
        refuse(
            "GG596",
            f"'{template}' draws nothing",
            written.span,
            found=f"draw={ast.unparse(written)}",
            expected="a network with draw:",
            fix="leave it out",
        )
    return _HOW[how]


def refuse_taken_param(document: schema.NetworkDocument) -> None:
    """Refuse a param `draw`: in a call of the network the name is the language's own. Raises SpecError."""
    taken = next((key for key in document.params if key == "draw"), None)
    if taken is not None:
        refuse("GG596", "a param cannot be called 'draw'", taken.span, "a param 'draw'", "another name for the param")


def refuse_double_names(document: schema.NetworkDocument, inputs: Sequence[Scalar]) -> None:
    """Refuse a draw with the name of an input, or of a value, which it would hide. Raises SpecError."""
    known = {str(name): "an input" for name in inputs} | {
        key.partition("[")[0]: "a value" for key in (*document.values, *document.parts)
    }
    for name in document.draw:
        if name in known:
            refuse(
                "GG411",
                f"the name '{name}' is taken",
                name.span,
                found=f"a draw called {name}, which is {known[name]} of the network",
                expected="another name",
            )
