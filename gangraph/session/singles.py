"""Samples as files of their own, one image each: what tools that measure a generator read."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from torch import Tensor

from gangraph.check.instantiate import Interval
from gangraph.data.fixed import FixedStream
from gangraph.errors import RunError, UsageError, nearest
from gangraph.evaluate.evaluation import BoundEvaluation, over_set
from gangraph.evaluate.pictures import MANY, channels_note, clipped, image_of, is_image, save_image
from gangraph.graph.model import Evaluation
from gangraph.lower.phase import lower_part
from gangraph.run.loading import load_run
from gangraph.run.training import Training
from gangraph.session.run import load_evaluators
from gangraph.terminal import Countdown

_PLAIN = re.compile(r"\w[\w.\[\]]*")  # labels that are names of folders too


def sample_files(
    run: Path,
    folder: Path,
    *,
    which: str | None = None,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
    count: int | None = None,
    seed: int | None = None,
    sentences: Sequence[str] = (),
    batch: int | None = None,
    device: str = "auto",
    interval: Interval | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Write what a run draws as `000000.png` and so on, batch after batch; returns how many files.

    Args:
        folder: where they go; several columns get a folder each in it. It is new, or empty.
        name: a grid, a sampler or one column of them; by default the first grid. Of a grid or a sampler the columns
            that no network makes are left out.
        count: how many samples; by default as many as the spec says.
        seed: of the draws; by default the run's.
        sentences: in place of the text that is read, one for each sample and again from the first.
        batch: how many are drawn together, by default the `samples` of `evaluate:`. Another batch gives other samples.
        interval: the range of the values, where the spec does not tell.
        say: is told what is done.

    Raises:
        UsageError: there is no such run, grid, sampler or column, the folder holds something, or there are not as
            many samples, since everything that they are made from is fixed.
        RunError: a column is no image.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--out '{folder}' is not empty: choose a new folder")
    training = load_run(run, which=which, settings=settings, device=device)
    evaluation = training.checked[training.phase].graph.evaluation
    if evaluation is None or not (evaluation.grids or evaluation.samplers):
        raise RunError("the spec shows nothing that can be drawn: name images in evaluate: grid")
    name = name or next(iter({**evaluation.grids, **evaluation.samplers}))
    columns = _columns(evaluation, name, say)
    part = lower_part(training.checked[training.phase], tuple(columns.values()))
    evaluators = load_evaluators(training.engine, part)
    draws = training.seed if seed is None else seed
    bound = BoundEvaluation(training.engine, part, evaluators, seed=draws, sentences=sentences)
    writer = _Writer(folder, columns, _ranges(bound, columns, interval), _folders(columns, name), say)
    sampler = evaluation.samplers.get(name)
    total = count or max(sampler.spec.samples if sampler is not None else bound.spec.samples, len(sentences))
    together = batch or bound.spec.samples
    there = _different(bound, columns.values(), together)
    if there is not None and total > there:
        if count is not None:
            raise UsageError(_too_many(bound, columns.values(), there, count))
        total = there
        say(f"there are {there} samples, since everything that they are made from is fixed")
    return _draw(training, bound, writer, total, together)


def _different(bound: BoundEvaluation, shown: Collection[str], batch: int) -> int | None:
    """How many different samples of what is shown there are where every batch is the same; None where batches differ.

    What has no batch, such as a network on a state, has as many as its rows.
    """
    types = bound.engine.program.plan.checked.evaluation
    if bound.draws_anew or types is None:
        return None
    draws = bound.draws(batch)
    streams = [name for name in bound.sources if isinstance(draws.sources[name], FixedStream)]
    drawn = min([batch, *(len(draws.open(name)) for name in streams)])
    return max(drawn if node in types.batched else min(batch, prod(types.nodes[node].shape[:1])) for node in shown)


def _too_many(bound: BoundEvaluation, shown: Collection[str], there: int, count: int) -> str:
    made = f"from {', '.join(bound.sources)}, fixed" if bound.sources else "without anything that is drawn"
    more = f", and --batch {count} draws as many at once" if _different(bound, shown, count) == count else ""
    return f"there are no {count} samples: every batch is the same, made {made}; --count {there} writes them all{more}"


def _draw(training: Training, bound: BoundEvaluation, writer: "_Writer", count: int, batch: int) -> int:
    """Whole batches, of which the last may give more than is kept: so a sample does not depend on the count."""
    draws, said = bound.draws(batch), Countdown("batch", -(-count // batch))
    for index, start in enumerate(range(0, count, batch)):
        given = bound.batch(draws, training.clock, index)
        values, _ = over_set(bound.graph, bound.part.whole, given)
        writer.write(values, start, min(batch, count - start), count)
        said.one_more()
    writer.conclude()
    return writer.written


def _columns(evaluation: Evaluation, name: str, say: Callable[[str], None]) -> dict[str, str]:
    """The chosen columns by label, each with its node."""
    shown = {**{grid: dict(pairs) for grid, pairs in evaluation.grids.items()}}
    shown |= {sampler: dict(its.columns) for sampler, its in evaluation.samplers.items()}
    every = {label: node for pairs in shown.values() for label, node in pairs.items()}
    if name not in shown:
        if name in every:
            return {name: every[name]}
        known = [*filter(None, shown), *every]
        near = nearest(name, known)
        listed = f"there is no grid, sampler or column '{name}': one of {', '.join(known)}"
        raise UsageError(listed + (f"; {near}" if near else ""))
    made = {label: node for label, node in shown[name].items() if _from_network(evaluation, node)}
    left = [label for label in shown[name] if label not in made]
    if not made:
        raise UsageError(f"no network makes {', '.join(left)}; name a column by --as to write data")
    if left:
        say(f"left out, since no network makes it: {', '.join(left)}")
    return made


def _from_network(evaluation: Evaluation, node: str) -> bool:
    return any(evaluation.graph.nodes[name].of_network for name in evaluation.graph.below(node))


def _ranges(bound: BoundEvaluation, columns: Mapping[str, str], interval: Interval | None) -> dict[str, Interval]:
    ranges = {label: interval or its for label, its in bound.ranges_of(columns.items()).items()}
    loose = [label for label, its in ranges.items() if its is None]
    if loose:
        raise UsageError(
            f"the range of {', '.join(loose)} is not known: clamp it in the spec, or give --range, such as --range tanh"
        )
    return {label: its for label, its in ranges.items() if its is not None}


def _folders(columns: Mapping[str, str], name: str) -> dict[str, str]:
    """A folder for each of several columns: its name, or its place where it has none."""
    if len(columns) == 1:
        return dict.fromkeys(columns, "")
    return {label: label if _PLAIN.fullmatch(label) else f"{name}-{place}" for place, label in enumerate(columns, 1)}


@dataclass
class _Writer:
    """Writes columns batch by batch, and keeps in mind what is to be said about them."""

    folder: Path
    columns: Mapping[str, str]
    ranges: Mapping[str, Interval]
    folders: Mapping[str, str]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.outside, self.written = dict.fromkeys(self.columns, 0.0), 0
        for label, name in self.folders.items():
            if name not in ("", label):
                self.say(f"{name}: {label}")

    def write(self, values: Mapping[str, Tensor], start: int, kept: int, count: int) -> None:
        """The first `kept` samples of a batch, numbered from `start`."""
        digits = max(6, len(str(count - 1)))
        for label, node in self.columns.items():
            value = values[node].detach().float().cpu() if is_image(values[node]) else None
            if value is None:
                raise RunError(f"{label} is no image, but {list(values[node].shape[1:])} for each sample")
            value = value[:, None] if value.dim() == 3 else value
            place = self.folder / self.folders[label]
            if not start and (note := channels_note(value.shape[1])):
                self.say(f"{label}: {note}")
            place.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(value[:kept], start):
                save_image(image_of(image, self.ranges[label]), place / f"{number:0{digits}d}.png")
            self.written += len(value[:kept])
            self.outside[label] += clipped(value[:kept], self.ranges[label]) * kept / count

    def conclude(self) -> None:
        """Say what was clipped."""
        for label, share in self.outside.items():
            if share > MANY:
                low, high = self.ranges[label]
                self.say(f"{label}: {share:.0%} of the values lie outside of [{low:g}, {high:g}] and were clipped")
