"""Samplers: pictures of a trained run that are drawn when they are asked for."""

from collections.abc import Iterator

from gangraph.errors import Problem
from gangraph.language import expression as ast
from gangraph.language import schema
from gangraph.language.sections import Sections
from gangraph.language.spec import SamplerSpec
from gangraph.language.static import StaticError
from gangraph.language.tree import Scalar

_RATE = 12  # frames a second


def resolve_samplers(sections: Sections, model: schema.EvaluateDocument, samples: int) -> dict[str, SamplerSpec]:
    """The samplers of `evaluate:` that can be read, by name; a look has so many `samples`."""
    sections.problems.extend(_named_twice(model))
    made = {
        str(key): sections.guarded(key, _sampler, sections, key, body, samples) for key, body in model.samplers.items()
    }
    return {name: sampler for name, sampler in made.items() if sampler is not None}


def _sampler(sections: Sections, key: Scalar, body: schema.SamplerDocument, samples: int) -> SamplerSpec:
    written = [shown for shown in (body.show, body.frames) if shown is not None]
    if len(written) != 1:
        raise StaticError(_problem(key, f"sampler '{key}' draws one picture", "none" if not written else "two"))
    if body.frames is not None and body.above is not None:
        raise StaticError(_problem(key, f"nothing stands above the frames of '{key}'", "frames: and above:"))
    if body.frames is None and body.rate is not None:
        raise StaticError(_problem(key, f"sampler '{key}' does not move, so it has no rate", "show: and rate:"))
    shown = sections.scope.reduce(written[0])
    columns = shown.items if isinstance(shown, ast.Sequence) else (shown,)
    return SamplerSpec(
        columns=columns,
        above=sections.optional(body.above),
        samples=sections.whole(body.samples, samples),
        rate=sections.whole(body.rate, _RATE) if body.frames is not None else None,
        span=key.span,
    )


def _problem(key: Scalar, message: str, found: str) -> Problem:
    return Problem(
        code="GG232",
        message=message,
        span=key.span,
        found=found,
        expected="show: for columns side by side (and above: over them), or frames: for an animation (and its rate:)",
    )


def _named_twice(model: schema.EvaluateDocument) -> Iterator[Problem]:
    """`gangraph sample RUN --as NAME` draws a sampler or a grid."""
    grids = {str(key) for key in model.grid} if isinstance(model.grid, dict) else set()
    for key in model.samplers:
        if str(key) in grids:
            yield Problem(
                code="GG233",
                message=f"'{key}' is a grid and a sampler",
                span=key.span,
                found=str(key),
                expected="another name; --as draws grids too",
            )
