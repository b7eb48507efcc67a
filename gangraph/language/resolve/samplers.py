"""Samplers: pictures of a trained run that are drawn when they are asked for."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NoReturn

from gangraph.errors import Problem, Span, refuse
from gangraph.language.document import schema
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope
from gangraph.language.scalar import Scalar
from gangraph.language.spec import SamplerSpec

_RATE = 12  # frames a second
_KINDS = "show: for columns side by side (and above: over them), or frames: for an animation (and its rate:)"


def resolve_samplers(
    sections: Sections, model: schema.EvaluateDocument, samples: int, grids: Collection[str]
) -> dict[str, SamplerSpec]:
    """The samplers of `evaluate:` that can be read, by name. A name that is one of `grids` too is a problem.

    `samples` is how many samples one shows that does not say so itself.
    """
    made: dict[str, SamplerSpec] = {}
    for key, body in model.samplers.items():
        for name, scope in sections.guarded(key, sections.expand, key, sections.scope) or []:
            sections.problems.extend(_named_twice(name, key, made, grids))
            sampler = sections.guarded(name, _Reading(sections, scope, name, key.span).sampler, body, samples)
            if sampler is not None:
                made[name] = sampler
    return made


@dataclass(frozen=True, slots=True)
class _Reading:
    """The reading of one sampler in its scope."""

    sections: Sections
    scope: Scope
    name: str
    span: Span

    def sampler(self, body: schema.SamplerDocument, samples: int) -> SamplerSpec:
        name, show, frames = self.name, self._columns(body.show), self._columns(body.frames)
        if bool(show) == bool(frames):
            self._refuse(f"sampler '{name}' draws one picture", "two" if show else "none")
        if frames and body.above is not None:
            self._refuse(f"nothing stands above the frames of '{name}'", "frames: and above:")
        if show and body.rate is not None:
            self._refuse(f"sampler '{name}' does not move, so it has no rate", "show: and rate:")
        count = self.sections.whole(body.samples, samples, self.scope)
        if body.above is not None and count > len(show):
            found = f"{count} samples above {len(show)} column{'s' * (len(show) != 1)}"
            self._refuse(f"every sample above '{name}' has a column", found, f"samples: {len(show)}, or less")
        return SamplerSpec(
            columns=show or frames,
            above=self.scope.reduce(body.above) if body.above is not None else None,
            samples=count,
            rate=self.sections.whole(body.rate, _RATE, self.scope) if frames else None,
            span=self.span,
        )

    def _columns(self, written: Expression | None) -> tuple[Expression, ...]:
        shown = self.scope.reduce(written) if written is not None else ast.Sequence((), self.span)
        items = shown.items if isinstance(shown, ast.Sequence) else (shown,)
        return tuple(item for item in items if item != ast.Literal(None, item.span))

    def _refuse(self, message: str, found: str, expected: str = _KINDS) -> NoReturn:
        refuse("GG232", message, self.span, found, expected)


def _named_twice(name: str, key: Scalar, made: Collection[str], grids: Collection[str]) -> Iterator[Problem]:
    """`gangraph sample RUN --as NAME` draws a sampler or a grid."""
    if name in made:
        yield Problem(code="GG103", message=f"'{name}' is defined twice", span=key.span)
    if name in grids:
        yield Problem(
            code="GG233",
            message=f"'{name}' is a grid and a sampler",
            span=key.span,
            found=name,
            expected="another name; --as draws grids too",
        )
