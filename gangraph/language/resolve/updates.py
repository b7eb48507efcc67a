"""Updates: the entries of `step:`, its loops written out, with everything static evaluated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gangraph.errors import Problem, Span, refuse
from gangraph.language.document import schema
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope
from gangraph.language.scalar import Scalar
from gangraph.language.update_spec import Objective, Unroll, UpdateSpec
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.update_schedule import SCHEDULE_KEYS

LARGEST_STEP = 300  # updates
LARGEST_LOOKAHEAD = 1000  # steps, all of which stay in memory until the gradient has come back through them


def resolve_updates(sections: Sections) -> Iterator[UpdateSpec]:
    """The entries of a phase's `step:` that can be read, in order."""
    for number, (entry, scope) in enumerate(_entries(sections.model.train.step, sections, sections.scope), 1):
        if number > LARGEST_STEP:
            sections.problems.append(_too_many(entry))
            return
        groups = [entry.update] if isinstance(entry.update, Scalar) else list(entry.update)
        made = sections.guarded(f"update {'+'.join(groups)}", _Entry(sections, scope).update, entry)
        if made is not None:
            yield made


def _entries(
    step: Sequence[schema.StepEntry], sections: Sections, scope: Scope
) -> Iterator[tuple[schema.UpdateDocument, Scope]]:
    """The updates of a list, each with the scope in which it is read: that of the loops around it."""
    for entry in step:
        if isinstance(entry, schema.UpdateDocument):
            yield entry, scope
            continue
        for key, body in entry.root.items():
            for inner in sections.guarded(key, sections.loop, key, scope) or []:
                yield from _entries(body if isinstance(body, list) else [body], sections, inner)


def _too_many(entry: schema.UpdateDocument) -> Problem:
    first = entry.update if isinstance(entry.update, Scalar) else next(iter(entry.update))
    return Problem(
        code="GG415",
        message="a step has too many updates",
        span=first.span,
        found=f"more than {LARGEST_STEP}",
        expected="smaller loops under step:, or times: for updates in a row",
    )


def _is_own(entry: schema.UnrollDocument) -> bool:
    """Whether the steps of a lookahead are those of the update itself."""
    return entry.update is None and entry.minimize is None and entry.maximize is None


@dataclass(frozen=True, slots=True)
class _Entry:
    """The reading of one entry in its scope."""

    sections: Sections
    scope: Scope

    def update(self, entry: schema.UpdateDocument) -> UpdateSpec:
        then = entry.then if isinstance(entry.then, list) else [entry.then] if entry.then is not None else []
        first = entry.update if isinstance(entry.update, Scalar) else next(iter(entry.update))
        objectives = tuple(self._objectives(entry))
        return UpdateSpec(
            name="+".join(each.group for each in objectives),
            objectives=objectives,
            draw=self._draw(self._reduced(entry.draw)),
            schedule=dict(self._schedule(entry.schedule)),
            options={name: self.scope.reduce(entry.options[name]) for name in UPDATE_OPTIONS if name in entry.options},
            then=tuple(self.scope.reduce(item) for item in then),
            span=first.span,
            ahead=self._own_steps(entry.unroll),
        )

    def _schedule(self, written: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """The keys that say when an update runs, without those that are known to change nothing, such as `times: 1`."""
        for name, key in SCHEDULE_KEYS.items():
            if name in written and key.takes == "static":
                number = self.sections.whole(written[name], 1, self.scope)
                if number != key.least:
                    yield name, ast.Literal(number, written[name].span)
            elif name in written:
                yield name, self.scope.reduce(written[name])

    def _reduced(self, expression: Expression | None) -> Expression | None:
        return None if expression is None else self.scope.reduce(expression)

    def _objectives(self, entry: schema.UpdateDocument) -> Iterator[Objective]:
        if isinstance(entry.update, Scalar):
            yield self._objective(entry.update, entry)
            return
        ahead = entry.unroll
        other = None if ahead is None else ahead.update or ahead.minimize or ahead.maximize
        beside = entry.minimize or entry.maximize or other
        if beside is not None:
            key = "unroll" if beside is other else "minimize"
            refuse(
                "GG221",
                "a simultaneous update states what each group minimises",
                beside.span,
                expected=f"{key}: under each group's name, not beside update:",
            )
        for key, objective in entry.update.items():
            for name, scope in self.sections.expand(key, self.scope):
                yield _Entry(self.sections, scope)._objective(key, objective, name)

    def _objective(
        self,
        key: Scalar,
        entry: schema.UpdateDocument | schema.ObjectiveDocument | schema.UnrollDocument,
        name: str | None = None,
    ) -> Objective:
        group = name or self.sections.member(key, self.scope)
        if isinstance(entry, schema.ObjectiveDocument) and entry.unroll is not None and _is_own(entry.unroll):
            refuse(
                "GG592",
                f"the steps that '{group}' looks ahead are those of another group",
                entry.unroll.steps.span,
                found="unroll: without update:, under one group",
                expected="update: and what that group minimises, or unroll: beside the update's groups",
            )
        if (entry.minimize is None) == (entry.maximize is None):
            refuse(
                "GG221",
                f"the update of '{group}' needs one objective",
                key.span,
                found="none" if entry.minimize is None else "two",
                expected="minimize: or maximize:",
            )
        written = entry.minimize if entry.minimize is not None else entry.maximize
        assert written is not None
        return Objective(
            group=group,
            expression=self.scope.reduce(written),
            sign=1 if entry.minimize is not None else -1,
            span=key.span,
            unroll=None if isinstance(entry, schema.UnrollDocument) else self._unroll(entry.unroll),
            when=self._reduced(entry.when) if isinstance(entry, schema.ObjectiveDocument) else None,
        )

    def _own_steps(self, entry: schema.UnrollDocument | None) -> int:
        """How many steps of its own groups an update looks ahead."""
        if entry is None or not _is_own(entry):
            return 0
        gradient = None if entry.gradient is None else self.scope.reduce(entry.gradient)
        if gradient is None or not isinstance(gradient, ast.Literal) or gradient.value is not False:
            refuse(
                "GG592",
                "no gradient flows through steps of the update's own groups",
                (entry.gradient or entry.steps).span,
                found="gradient: " + ("left out" if gradient is None else ast.unparse(gradient)),
                expected="gradient: false, or update: with another group and what that minimises",
            )
        return self._count(entry)

    def _unroll(self, entry: schema.UnrollDocument | None) -> Unroll | None:
        if entry is None or _is_own(entry):
            return None
        if entry.gradient is not None:
            refuse(
                "GG592",
                "the gradient flows through the steps of another group",
                entry.gradient.span,
                found=f"gradient: {ast.unparse(entry.gradient)}",
                expected="no gradient:, and detach(...) under minimize: where it should stop",
            )
        if entry.update is None:
            refuse(
                "GG592",
                "an objective looks ahead of steps of another group",
                entry.steps.span,
                found="unroll: without update:",
                expected="update: with the group that minimises this",
            )
        return Unroll(objective=self._objective(entry.update, entry), steps=self._count(entry), span=entry.update.span)

    def _count(self, entry: schema.UnrollDocument) -> int:
        """How many steps a lookahead takes. Raises SpecError."""
        steps = self.scope.reduce(entry.steps)
        value = steps.value if isinstance(steps, ast.Literal) else None
        count = int(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1
        if value != count or not 0 <= count <= LARGEST_LOOKAHEAD:
            refuse(
                "GG513",
                "an objective looks a whole number of steps ahead",
                entry.steps.span,
                found=ast.unparse(steps),
                expected=f"a whole number from 0 to {LARGEST_LOOKAHEAD} that is known before the run",
            )
        return count

    def _draw(self, draw: Expression | None) -> tuple[tuple[str, Span], ...] | None:
        if draw is None:
            return None
        items = draw.items if isinstance(draw, ast.Sequence) else (draw,)
        wrong = next((item for item in items if not isinstance(item, ast.Name)), None)
        if wrong is not None:
            refuse(
                "GG222",
                "draw: names the sources to draw anew",
                wrong.span,
                found=ast.unparse(wrong),
                expected="all, a name, or a list of names",
            )
        return tuple((item.id, item.span) for item in items if isinstance(item, ast.Name))
