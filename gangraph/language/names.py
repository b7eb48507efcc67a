"""Names: which ones a spec can give, and which are taken.

Many names become parts of paths and of code, so they are plain where they are written, and nothing later has to ask.
"""

import re
from collections.abc import Iterator

from gangraph.errors import Problem, Span, SpecError, refuse
from gangraph.language.document import schema
from gangraph.language.expression.foreign import in_ascii
from gangraph.language.expression.model import LONGEST_NAME
from gangraph.language.expression.schedule import TIME
from gangraph.language.scalar import Scalar
from gangraph.language.spec import PhaseSpec

_PLAIN = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)
_EXPECTED = f"letters, digits and _ . + -, at most {LONGEST_NAME} of them, beginning with a letter, a digit or _"


def refuse_odd(name: Scalar, what: str) -> None:
    """Refuse a name that is no plain part of a path: with slashes, say, or very long. Raises SpecError."""
    if not _PLAIN.fullmatch(name):
        plain = "" if name.isascii() else in_ascii(name)
        fix = f"write '{plain}'" if plain else ""
        refuse("GG410", f"this cannot be the name of a {what}", name.span, repr(str(name)), _EXPECTED, fix)


def odd_names(model: schema.Document) -> Iterator[Problem]:
    """What is wrong with the names of the spec and of its profiles and variants."""
    overlays = [("profile", key) for key in model.profiles] + [("variant", key) for key in model.variants]
    for what, name in (("spec", model.name), *overlays):
        try:
            refuse_odd(name, what)
        except SpecError as error:
            yield from error.problems
        if (what, name) == ("profile", "paper"):
            yield _taken(name, name.span, "a profile", "the document itself")


def taken_names(phase: PhaseSpec, model: schema.Document) -> Iterator[Problem]:
    """Every name of a phase that something else has as well: one of the two could never be meant."""
    known = dict.fromkeys(TIME, "a time") | {"params": "the params of the spec"}
    let = {re.split(r"[\[\s]", key)[0] for key in model.let}
    known |= dict.fromkeys(let, "a static name under let:")
    for what, section in phase.named.items():
        for name, made in section.items():
            family = name.partition("[")[0]
            meaning = known.get(name) or (known.get(family) if family in let or family in TIME else None)
            if meaning is None and what == "source" and name == "all":
                meaning = "every source, in draw:"
            if meaning is not None:
                yield _taken(name, phase.spans.get(name, made.span), f"a {what}", meaning)
        known |= {name: f"a {what}" for name in section if name not in known}
    if phase.evaluate is not None:
        known |= dict.fromkeys(phase.evaluate.networks, "a network of evaluate:")
        yield from _taken_in_evaluation(phase, model, known)


def _taken_in_evaluation(phase: PhaseSpec, model: schema.Document, known: dict[str, str]) -> Iterator[Problem]:
    """Streams and values of an evaluation replace those of training, and nothing else."""
    assert phase.evaluate is not None and model.evaluate is not None
    written = {key.partition("[")[0]: key.span for key in (*model.evaluate.data, *model.evaluate.values)}
    for what, section in (("source", phase.evaluate.data), ("value", phase.evaluate.values)):
        for name in section:
            if (meaning := known.get(name, f"a {what}")) != f"a {what}":
                yield _taken(name, written[name.partition("[")[0]], f"a {what} of evaluate:", meaning)
        known |= dict.fromkeys(section, f"a {what}")


def _taken(name: str, span: Span, what: str, meaning: str) -> Problem:
    return Problem(
        code="GG411",
        message=f"the name '{name}' is taken",
        span=span,
        found=f"{what} called {name}, which means {meaning}",
        expected="another name",
    )
