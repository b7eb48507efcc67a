"""Training: optimizer groups and evaluation, with everything static evaluated. Updates are in `resolve_updates`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from gangraph.errors import Problem, give_up, nearest, refuse
from gangraph.language.document import schema
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope
from gangraph.language.place import place_of
from gangraph.language.resolve.evaluators import Resolve, resolve_evaluators
from gangraph.language.resolve.samplers import resolve_samplers
from gangraph.language.scalar import Scalar
from gangraph.language.spec import EvaluateSpec
from gangraph.language.update_spec import Entry, OptimizerSpec


class TrainingSections:
    """The `train:` and `evaluate:` sections of a phase."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections

    def optimizers(self) -> Iterator[tuple[str, OptimizerSpec]]:
        """The optimizer groups that can be read, by name."""
        sections, known = self.sections, set[str]()
        for key, body in sections.model.train.optimizers.items():
            for name, scope in sections.guarded(key, sections.expand, key, sections.scope) or []:
                if name in known:
                    sections.problems.append(Problem(code="GG103", message=f"'{name}' is defined twice", span=key.span))
                known.add(name)
                made = sections.guarded(name, self._optimizer, name, body, scope)
                if made is not None:
                    yield name, made

    def _optimizer(self, name: str, written: Expression, scope: Scope) -> OptimizerSpec:
        call = scope.reduce(written)
        if not isinstance(call, ast.Call) or not isinstance(call.function, ast.Name) or len(call.arguments) != 1:
            refuse(
                "GG220",
                f"optimizer group '{name}' is not written like this",
                call.span,
                found=ast.unparse(call),
                expected="adam(NETWORK, lr=2e-4) or adam([NETWORK, NETWORK], lr=2e-4)",
            )
        listed = call.arguments[0]
        items = listed.items if isinstance(listed, ast.Sequence) else (listed,)
        entries = tuple(map(_entry, items)) or (_entry(listed),)
        plain = all(not entry.place.path and not entry.options for entry in entries)
        networks = {entry.place.network: entry.place.span for entry in reversed(entries)}
        return OptimizerSpec(
            name=name,
            kind=call.function.id,
            networks=tuple((entry.place.network, entry.place.span) for entry in entries)
            if plain
            else tuple(reversed(networks.items())),
            options=dict(call.keywords),
            span=call.span,
            listed=() if plain else entries,
        )

    def evaluate(
        self, model: schema.EvaluateDocument, trained_on: Mapping[str, Expression], resolve: Resolve
    ) -> EvaluateSpec:
        """The `evaluate:` section.

        Args:
            model: the section as written.
            trained_on: the sources of training by name, of which an evaluation may take one with other arguments.
            resolve: makes a spec of the documents that train the evaluation's networks.
        """
        sections = self.sections
        metrics, results = sections.family_section(model.metrics), sections.family_section(model.results)
        sections.problems.extend(_named_twice(model, {*metrics} & {*results}))
        grids = self._grids(model.grid)
        samples = sections.guarded("samples", sections.whole, model.samples, 8) or 8
        return EvaluateSpec(
            every=sections.guarded("every", sections.duration, model.every),
            samples=samples,
            result_samples=sections.guarded("result_samples", sections.whole, model.result_samples, 1000) or 1000,
            mode=sections.guarded("mode", self._mode, model.mode) or "eval",
            data=dict(self._sources(model, trained_on)),
            networks=resolve_evaluators(sections, model.networks, resolve),
            values=sections.family_section(model.values),
            grids=grids,
            samplers=resolve_samplers(sections, model, samples, grids),
            metrics=metrics,
            results=results,
            best=sections.guarded("best", self._best, model),
        )

    def _sources(
        self, model: schema.EvaluateDocument, trained_on: Mapping[str, Expression]
    ) -> Iterator[tuple[str, Expression]]:
        for name, written in self.sections.family_section(model.data).items():
            source = self.sections.guarded(name, self._source, written, trained_on)
            if source is not None:
                yield name, source

    def _source(self, written: Expression, trained_on: Mapping[str, Expression]) -> Expression:
        """A source; `data.x` is training's x, and `data.x(size=64)` the same with another size. Raises SpecError."""
        call = written if isinstance(written, ast.Call) else ast.Call(written, (), (), written.span)
        name = _of_training(call.function)
        if name is None:
            return written
        if name in self.sections.broken:
            give_up()
        source = trained_on.get(name)
        if source is None or call.arguments:
            refuse(
                "GG660",
                f"training has no data '{name}'" if source is None else "only arguments by name fit here",
                call.function.span if source is None else call.arguments[0].span,
                found=ast.unparse(written),
                expected="data.NAME, or data.NAME(ARGUMENT=VALUE), of " + ", ".join(trained_on),
                fix=nearest(name, trained_on) if source is None else "",
            )
        made = source if isinstance(source, ast.Call) else ast.Call(source, (), (), source.span)
        return replace(made, keywords=tuple({**dict(made.keywords), **dict(call.keywords)}.items()), span=call.span)

    def _grids(self, written: schema.Grid | None) -> dict[str, tuple[Expression, ...]]:
        if isinstance(written, dict):
            named = self.sections.family_section(written)
        else:
            grid = self.sections.guarded("grid", self.sections.optional, written)
            named = {} if grid is None else {"": grid}
        return {name: grid.items if isinstance(grid, ast.Sequence) else (grid,) for name, grid in named.items()}

    def _mode(self, mode: Scalar | None) -> Literal["train", "eval"]:
        if mode is not None and mode not in ("train", "eval"):
            refuse("GG223", "there is no such mode", mode.span, found=str(mode), expected="train or eval")
        return "train" if mode == "train" else "eval"

    def _best(self, model: schema.EvaluateDocument) -> tuple[Literal["max", "min"], str] | None:
        match model.best:
            case None:
                return None
            case ast.Call(function=ast.Name(id=("max" | "min") as which), arguments=(ast.Name(id=metric),)):
                if metric in {str(key) for key in model.metrics}:
                    return ("max" if which == "max" else "min"), metric
        known = ", ".join(map(str, model.metrics)) or "none is defined"
        metric = next((ast.unparse(a) for a in getattr(model.best, "arguments", ())), "")
        return refuse(
            "GG224",
            "best: chooses by one metric",
            model.best.span,
            found=ast.unparse(model.best),
            expected=f"max(METRIC) or min(METRIC); the metrics: {known}",
            fix=nearest(metric, map(str, model.metrics)),
        )


def _entry(item: Expression) -> Entry:
    """A network or a part of one, and options of its own: `G`, `G.mapping(lr=1e-4)`. Raises SpecError."""
    call = item if isinstance(item, ast.Call) and not item.arguments else None
    place = place_of(item if call is None else call.function)
    if place is None:
        refuse(
            "GG220",
            "an optimizer is given networks",
            item.span,
            found=ast.unparse(item),
            expected="the name of a network, NETWORK.PART, or NETWORK.PART(lr=1e-4)",
        )
    return Entry(place=place, options=dict(call.keywords) if call is not None else {})


def _of_training(function: Expression) -> str | None:
    """The name of the source that `data.x` means, which is x; for a member of a family, `data.x[1]`, it is `x[1]`."""
    match function:
        case ast.Attribute(base=ast.Name(id="data"), name=name):
            return name
        case ast.Index(base=ast.Attribute(base=ast.Name(id="data"), name=name), index=ast.Literal(value=index)):
            return f"{name}[{index}]"
    return None


def _named_twice(model: schema.EvaluateDocument, names: set[str]) -> Iterator[Problem]:
    """Results that have the name of a metric: this is measured over `result_samples` too, under the same name."""
    for key in model.results:
        if str(key) in names:
            yield Problem(
                code="GG227",
                message=f"'{key}' is a metric and a result",
                span=key.span,
                found=str(key),
                expected="another name; every metric is measured over result_samples too, under its own",
            )
