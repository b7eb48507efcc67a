"""Training: optimizer groups, updates and evaluation, with everything static evaluated."""

from collections.abc import Iterator
from typing import Literal

from gangraph.errors import Problem, Span, nearest
from gangraph.language import expression as ast
from gangraph.language import schema
from gangraph.language.expression import Expression
from gangraph.language.resolve_evaluators import Resolve, resolve_evaluators
from gangraph.language.sections import Sections
from gangraph.language.spec import (
    EvaluateSpec,
    Objective,
    OptimizerSpec,
    Unroll,
    UpdateSpec,
)
from gangraph.language.static import StaticError
from gangraph.language.tree import Scalar


class Training:
    """The `train:` and `evaluate:` sections of a phase."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections

    def optimizers(self) -> Iterator[tuple[str, OptimizerSpec]]:
        """The optimizer groups that can be read, by name."""
        for key, body in self.sections.model.train.optimizers.items():
            made = self.sections.guarded(key, self._optimizer, str(key), body)
            if made is not None:
                yield str(key), made

    def _optimizer(self, name: str, written: Expression) -> OptimizerSpec:
        call = self.sections.scope.reduce(written)
        if not isinstance(call, ast.Call) or not isinstance(call.function, ast.Name) or len(call.arguments) != 1:
            raise StaticError(
                Problem(
                    code="GG220",
                    message=f"optimizer group '{name}' is not written like this",
                    span=call.span,
                    found=ast.show(call),
                    expected="adam(NETWORK, lr=2e-4) or adam([NETWORK, NETWORK], lr=2e-4)",
                )
            )
        listed = call.arguments[0]
        names = listed.items if isinstance(listed, ast.Sequence) else (listed,)
        wrong = next((item for item in names if not isinstance(item, ast.Name)), None)
        if wrong is not None:
            raise StaticError(
                Problem(
                    code="GG220",
                    message="an optimizer is given networks",
                    span=wrong.span,
                    found=ast.show(wrong),
                    expected="the name of a network",
                )
            )
        networks = tuple((item.id, item.span) for item in names if isinstance(item, ast.Name))
        return OptimizerSpec(
            name=name, kind=call.function.id, networks=networks, options=dict(call.keywords), span=call.span
        )

    def updates(self) -> Iterator[UpdateSpec]:
        """The entries of `step:` that can be read, in order."""
        for entry in self.sections.model.train.step:
            group = entry.update
            name = str(group) if isinstance(group, Scalar) else "+".join(group)
            made = self.sections.guarded(f"update {name}", self._update, entry, name)
            if made is not None:
                yield made

    def _update(self, entry: schema.UpdateDocument, name: str) -> UpdateSpec:
        reduce = self.sections.optional
        then = entry.then if isinstance(entry.then, list) else [entry.then] if entry.then is not None else []
        first = entry.update if isinstance(entry.update, Scalar) else next(iter(entry.update))
        return UpdateSpec(
            name=name,
            objectives=tuple(self._objectives(entry)),
            draw=self._draw(reduce(entry.draw)),
            times=reduce(entry.times),
            every=reduce(entry.every),
            when=reduce(entry.when),
            then=tuple(self.sections.scope.reduce(item) for item in then),
            accumulate=self.sections.whole(entry.accumulate, 1),
            clip_grad_norm=reduce(entry.clip_grad_norm),
            clip_grad_value=reduce(entry.clip_grad_value),
            span=first.span,
        )

    def _objectives(self, entry: schema.UpdateDocument) -> Iterator[Objective]:
        if isinstance(entry.update, Scalar):
            yield self._objective(entry.update, entry)
            return
        ahead = entry.unroll.update if entry.unroll is not None else None
        beside = entry.minimize or entry.maximize or ahead
        if beside is not None:
            place = beside.span
            key = "unroll" if isinstance(beside, Scalar) else "minimize"
            raise StaticError(
                Problem(
                    code="GG221",
                    message="a simultaneous update states what each group minimises",
                    span=place,
                    expected=f"{key}: under each group's name, not beside update:",
                )
            )
        for group, objective in entry.update.items():
            yield self._objective(group, objective)

    def _objective(
        self, group: Scalar, entry: schema.UpdateDocument | schema.ObjectiveDocument | schema.UnrollDocument
    ) -> Objective:
        if (entry.minimize is None) == (entry.maximize is None):
            raise StaticError(
                Problem(
                    code="GG221",
                    message=f"the update of '{group}' needs one objective",
                    span=group.span,
                    found="none" if entry.minimize is None else "two",
                    expected="minimize: or maximize:",
                )
            )
        written = entry.minimize if entry.minimize is not None else entry.maximize
        assert written is not None
        sign = 1 if entry.minimize is not None else -1
        return Objective(
            group=str(group),
            expression=self.sections.scope.reduce(written),
            sign=sign,
            span=group.span,
            unroll=None if isinstance(entry, schema.UnrollDocument) else self._unroll(entry.unroll),
            when=self.sections.optional(entry.when) if isinstance(entry, schema.ObjectiveDocument) else None,
        )

    def _unroll(self, entry: schema.UnrollDocument | None) -> Unroll | None:
        if entry is None:
            return None
        steps = self.sections.scope.reduce(entry.steps)
        value = steps.value if isinstance(steps, ast.Literal) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
            raise StaticError(
                Problem(
                    code="GG513",
                    message="an objective looks a whole number of steps ahead",
                    span=entry.steps.span,
                    found=ast.show(steps),
                    expected="a whole number of at least 0 that is known before the run: a number or a param",
                )
            )
        return Unroll(objective=self._objective(entry.update, entry), steps=int(value), span=entry.update.span)

    def _draw(self, draw: Expression | None) -> tuple[tuple[str, Span], ...] | None:
        if draw is None:
            return None
        items = draw.items if isinstance(draw, ast.Sequence) else (draw,)
        wrong = next((item for item in items if not isinstance(item, ast.Name)), None)
        if wrong is not None:
            raise StaticError(
                Problem(
                    code="GG222",
                    message="draw: names the sources to draw anew",
                    span=wrong.span,
                    found=ast.show(wrong),
                    expected="all, a name, or a list of names",
                )
            )
        return tuple((item.id, item.span) for item in items if isinstance(item, ast.Name))

    def evaluate(self, model: schema.EvaluateDocument, resolve: Resolve) -> EvaluateSpec:
        """The `evaluate:` section; `resolve` makes a spec of the documents that train its networks."""
        sections = self.sections
        metrics, results = sections.family_section(model.metrics), sections.family_section(model.results)
        sections.problems.extend(_named_twice(model, {*metrics} & {*results}))
        return EvaluateSpec(
            every=sections.guarded("every", sections.duration, model.every),
            samples=sections.guarded("samples", sections.whole, model.samples, 8) or 8,
            result_samples=sections.guarded("result_samples", sections.whole, model.result_samples, 1000) or 1000,
            mode=sections.guarded("mode", self._mode, model.mode) or "eval",
            data=sections.family_section(model.data),
            networks=resolve_evaluators(sections, model.networks, resolve),
            values=sections.family_section(model.values),
            grids=self._grids(model.grid),
            metrics=metrics,
            results=results,
            best=sections.guarded("best", self._best, model),
        )

    def _grids(self, written: schema.Grid | None) -> dict[str, tuple[Expression, ...]]:
        if isinstance(written, dict):
            named = self.sections.family_section(written)
        else:
            grid = self.sections.guarded("grid", self.sections.optional, written)
            named = {} if grid is None else {"": grid}
        return {name: grid.items if isinstance(grid, ast.Sequence) else (grid,) for name, grid in named.items()}

    def _mode(self, mode: Scalar | None) -> Literal["train", "eval"]:
        if mode is not None and mode not in ("train", "eval"):
            raise StaticError(
                Problem(
                    code="GG223",
                    message="there is no such mode",
                    span=mode.span,
                    found=str(mode),
                    expected="train or eval",
                )
            )
        return "train" if mode == "train" else "eval"

    def _best(self, model: schema.EvaluateDocument) -> tuple[Literal["max", "min"], str] | None:
        match model.best:
            case None:
                return None
            case ast.Call(function=ast.Name(id=("max" | "min") as which), arguments=(ast.Name(id=metric),)):
                if metric in {str(key) for key in model.metrics}:
                    return ("max" if which == "max" else "min"), metric
        known = ", ".join(map(str, model.metrics)) or "none is defined"
        metric = next((ast.show(a) for a in getattr(model.best, "arguments", ())), "")
        raise StaticError(
            Problem(
                code="GG224",
                message="best: chooses by one metric",
                span=model.best.span,
                found=ast.show(model.best),
                expected=f"max(METRIC) or min(METRIC); the metrics: {known}",
                fix=nearest(metric, map(str, model.metrics)),
            )
        )


def _named_twice(model: schema.EvaluateDocument, names: set[str]) -> Iterator[Problem]:
    """Metrics are measured over many samples too, so a result of the same name would be another number."""
    for key in model.results:
        if str(key) in names:
            yield Problem(
                code="GG227",
                message=f"'{key}' is a metric and a result",
                span=key.span,
                found=str(key),
                expected="another name; every metric is measured over result_samples too, under its own",
            )
