"""The Python interface: a spec with parameters, that steps, trains, saves and resumes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self, get_args

import torch
from torch import Tensor, nn

from gangraph.errors import SpecError, UsageError
from gangraph.evaluate.evaluation import Evaluation, Look
from gangraph.folder.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from gangraph.folder.plugins import plugins_of
from gangraph.folder.saved import find_checkpoint, load_text, results_folder, spec_damaged, trained_fingerprint
from gangraph.folder.state import FILE, Changed, Trained, damaged
from gangraph.kernels import why_not
from gangraph.language.continuation import Change
from gangraph.language.document.copies import files_of
from gangraph.language.expression.model import Quantity
from gangraph.language.expression.schedule import Clock
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.lower.fusing import Kernels
from gangraph.pipeline import check_phase, compile_phase
from gangraph.run.continuing import Asked, applied
from gangraph.run.draws import Draws
from gangraph.run.engine import PRECISIONS, Engine, Settings
from gangraph.run.given import Given
from gangraph.run.networks import make_networks
from gangraph.run.restore import carry_optimizers, carry_over, restore
from gangraph.run.verify import verify_networks


class Trainer:
    """A spec that is ready to train.

    Args:
        spec: from `gangraph.load`.
        device: `auto`, `cpu` or `cuda`.
        seed: everything random is a function of it.
        precision: `fp32`; `bf16` computes in mixed precision with parameters in float32; `fp64`.
        compile: `auto` compiles on CUDA only; `on`; `off`.
        share, merge: False for the plain form, in which no update reuses another's values and no calls are merged.
        kernels: `auto` uses the fused kernels on CUDA only; `on` also under the Triton interpreter; `off`.

    Raises:
        SpecError: the spec has errors; all of them in one report.
        UsageError: there is no such device or precision, or Triton cannot run where kernels are `on`.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        device: str = "auto",
        seed: int = 0,
        precision: str = "fp32",
        compile: str = "auto",
        share: bool = True,
        merge: bool = True,
        kernels: str = "auto",
        _checkpoint: Checkpoint | None = None,  # which `resume` goes on with
    ) -> None:
        self.spec, self.seed, self.precision, self.share, self.merge = spec, seed, precision, share, merge
        self.settings = _settings(device, precision, compile, seed)
        self.kernels_asked, self.kernels = kernels, _kernels(kernels, self.settings.device)
        self.phase = 0
        self.phase_start = 0
        self._seen_before = 0
        self._evaluation: Evaluation | None = None
        self.changes: tuple[Change, ...] = ()  # what differs from what was saved, if this goes on with a run
        self._changed: tuple[Changed, ...] = ()
        self.checked = tuple(check_phase(spec, phase) for phase in spec.phases)
        if _checkpoint is not None:
            self._go_to(_checkpoint)
        self.engine = self._make_engine()
        if _checkpoint is not None:
            restore(self.engine, _checkpoint)

    def _go_to(self, checkpoint: Checkpoint) -> None:
        """Be in the phase of a checkpoint, whose networks are found to be those of the spec."""
        trained = checkpoint.state.extra
        if trained.phase >= len(self.spec.phases):
            why = f"extra.phase: found {trained.phase}, but the spec has {len(self.spec.phases)}, counted from 0"
            raise damaged(checkpoint.folder, FILE, why)
        self.phase, self.phase_start, self._seen_before = trained.phase, trained.phase_start, trained.seen_before
        verify_networks(self.checked[self.phase], checkpoint)

    def _make_engine(self) -> Engine:
        checked = self.checked[self.phase]
        program = compile_phase(checked, share=self.share, merge=self.merge, kernels=self.kernels)
        settings = self.settings
        networks = make_networks(checked, program.forms, device=settings.device, dtype=settings.dtype, seed=self.seed)
        draws = Draws(
            checked.graph.sources,
            batch=checked.graph.spec.batch,
            seed=self.seed,
            device=settings.device,
            dtype=settings.dtype,
            prefetch=settings.device.type == "cuda" and settings.dtype == torch.get_default_dtype(),
        )
        return Engine(program, networks, draws, settings)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network, and every averaged copy, by the spec's names. They are ordinary modules."""
        return {**self.engine.networks.live, **self.engine.networks.averages}

    @property
    def step_count(self) -> int:
        """Steps taken so far."""
        return self.engine.step_count

    @property
    def seen(self) -> int:
        """Samples drawn so far from the most drawn stream."""
        return self._seen_before + self.engine.draws.seen()

    @property
    def clock(self) -> Clock:
        """The present moment of the current phase."""
        length = self.spec.phases[self.phase].length
        epoch_length = self._epoch_length()
        seen = self.engine.draws.seen()
        clock = Clock(
            step=self.step_count - self.phase_start, epoch=seen / epoch_length if epoch_length else 0.0, seen=seen
        )
        share = clock.position(length.unit) / length.value if length else 0.0
        return Clock(clock.step, clock.epoch, clock.seen, min(1.0, share))

    def _epoch_length(self) -> int:
        """Samples in an epoch, or 0 while no data has been opened, since nothing was drawn then."""
        return max(self.engine.draws.sizes.values(), default=0)

    def step(self, draws: Given | None = None) -> dict[str, float]:
        """One pass through `step:`.

        Args:
            draws: batches by source name, for sources that are not to be drawn: a tensor [B, ...], or for a
                source with several fields a mapping of them; where the step draws the source several times, a list
                of as many, used one after the other. All have the same B, and that is the batch size of this step.

        Returns:
            Every loss that was computed, by name. A loss computed several times has its last value.

        Raises:
            NotFiniteError: a loss is NaN or infinite; it names the value where that began. The update in which it
                was found has changed no parameter.
            UsageError: `draws` names something that is no source, or holds batches that are not as the source
                declares them, or not one for each draw; nothing has moved.
        """
        losses = self.advance(draws)
        return {name: float(value) for name, value in losses.items()}

    def advance(self, draws: Given | None = None) -> dict[str, Tensor]:
        """`step` without reading the losses back from the device."""
        return self.engine.step(self.clock, draws)

    def train(
        self, steps: int | None = None, *, every: Callable[["Trainer", dict[str, Tensor]], None] | None = None
    ) -> dict[str, float]:
        """Train to the end of the spec's length, or for a number of steps; returns the last losses.

        Args:
            steps: how many more steps; by default to the end of the last phase.
            every: called after each step with the trainer and the losses.

        Raises:
            NotFiniteError: as `step`.
        """
        losses: dict[str, Tensor] = {}
        last = None if steps is None else self.step_count + steps
        while self.step_count != last and (last is not None or not self.done):
            if self.phase + 1 < len(self.spec.phases) and self.phase_done:
                self.next_phase()
            losses = self.advance()
            if every is not None:
                every(self, losses)
        return {name: float(value) for name, value in losses.items()}

    @property
    def phase_done(self) -> bool:
        """Whether the current phase has reached its length."""
        if self.spec.phases[self.phase].length is None:
            raise UsageError("the spec states no length: give a number of steps")
        return self.clock.progress >= 1.0

    @property
    def done(self) -> bool:
        """Whether the last phase has reached its length."""
        return self.phase + 1 == len(self.spec.phases) and self.phase_done

    @property
    def progress(self) -> float:
        """How much of all phases is done, from 0 to 1, each phase counting as many samples as it draws."""
        samples = [self._samples(phase) for phase in self.spec.phases]
        done = sum(samples[: self.phase]) + self.clock.progress * samples[self.phase]
        return done / max(sum(samples), 1.0)

    def _samples(self, phase: PhaseSpec) -> float:
        """About how many samples a phase draws."""
        units = {"steps": phase.batch, "epochs": self._epoch_length(), "images": 1, "kimg": 1000}
        return phase.length.value * units[phase.length.unit] if phase.length is not None else 0.0

    def next_phase(self) -> list[str]:
        """Begin the next phase: weights are carried over by name; returns the parameters that start anew."""
        before = self.engine
        networks, averages = self.engine.networks.live, self.engine.networks.averages
        old = {f"network/{n}/{path}": t for n, m in networks.items() for path, t in m.state_dict().items()}
        old |= {f"average/{n}/{path}": t for n, m in averages.items() for path, t in m.state_dict().items()}
        step = self.step_count
        self._seen_before = self.seen
        self.phase += 1
        self.phase_start = step
        self.engine.draws.close()
        self.engine = self._make_engine()
        self.engine.step_count = step
        live, means = self.engine.networks.live, self.engine.networks.averages
        fresh = carry_over(live, old, "network", self.checked[self.phase].tied_parts)
        for name, average in self.checked[self.phase].graph.averages.items():  # one that is new begins at its network
            means[name].load_state_dict(live[average.of].state_dict())
        carry_over(means, old, "average", {})
        if self.spec.phases[self.phase].carries:
            carry_optimizers(before, self.engine)
        return fresh

    def evaluate(self, count: int | None = None) -> Look | None:
        """Compute the spec's grid and metrics now; None if it has no `evaluate:`. Training is not disturbed."""
        program = self.engine.program
        seen, part = program.plan.checked.graph.evaluation, program.evaluation
        if seen is None or part is None:
            return None
        if self._evaluation is None or self._evaluation.engine is not self.engine:
            self._evaluation = Evaluation(self.engine, seen, part)  # which reads the evaluators from their files
        return self._evaluation.look(self.clock, count)

    def position(self, length: Quantity) -> float:
        """How far the run is, in the unit of a length, over all phases."""
        clock = self.clock
        return Clock(self.step_count, clock.epoch, self.seen).position(length.unit)

    def save(self, folder: str | Path, more: Mapping[str, str] | None = None) -> Path:
        """Write everything that resuming needs to a folder, atomically.

        Args:
            more: texts of other files that belong into the folder, by name.

        Raises:
            RunError: it cannot be written; what stood there is still there.
        """
        trained = Trained(
            spec=self.spec.text,
            name=self.spec.name,
            profile=self.spec.profile,
            variant=self.spec.variant,
            settings=dict(self.spec.settings),
            origin=self.spec.origin,
            fingerprint=fingerprint(self.spec),
            seed=self.seed,
            precision=self.precision,  # type: ignore[arg-type]  # looked up when the trainer was made
            phase=self.phase,
            phase_start=self.phase_start,
            seen_before=self._seen_before,
            share=self.share,
            merge=self.merge,
            kernels=self.kernels_asked,  # type: ignore[arg-type]  # likewise
            device=self.settings.device.type,
            files=files_of(self.spec),
            plugins=plugins_of(self.spec),
            sizes=self.engine.draws.sizes,
            changed=list(self._changed),
        )
        return save_checkpoint(Path(folder), self.engine, trained, more)

    @classmethod
    def resume(
        cls,
        folder: str | Path,
        *,
        device: str = "auto",
        compile: str = "auto",
        kernels: str | None = None,
        spec: Spec | None = None,
        seed: int | None = None,
        precision: str | None = None,
        share: bool | None = None,
        merge: bool | None = None,
    ) -> Self:
        """Continue from a folder that `save` wrote, exactly where it was and as it was, but for what is asked for.

        Data is opened when it is first drawn.

        Args:
            folder: a checkpoint; or a run, whose newest it is.
            spec: the saved spec with differences that are applied from now on: lengths, rates and other numbers over
                time, the batch, what is saved and looked at, data of the same form, phases that have not begun.
            seed: the saved one; another is refused.
            Others as for `Trainer`. The differences stand in `changes`.

        Raises:
            CheckpointError: the folder holds no checkpoint, or one that is damaged.
            SpecError: `spec` has errors.
            UsageError: something else is asked for than what was trained; all of it is named. Or there is no such run.
        """
        checkpoint = read_checkpoint(find_checkpoint(folder))
        trained = checkpoint.state.extra
        saved = load_text(trained, checkpoint.folder)
        if spec is not None and any(problem.severity == "error" for problem in spec.problems):
            raise SpecError(spec.problems)
        if not trained.files and fingerprint(saved) != trained_fingerprint(trained, saved):
            raise UsageError(
                f"the file of a network that '{saved.name}' calls has changed since '{folder}' was written: "
                "the spec trains something else now"
            )
        chosen = _settings(device, "fp32", compile, 0).device.type
        asked = Asked(
            spec=spec, seed=seed, precision=precision, share=share, merge=merge, kernels=kernels, device=chosen
        )
        found = applied(trained, saved, asked, results_folder(checkpoint.folder))
        try:
            trainer = cls(
                spec or saved,
                device=device,
                seed=trained.seed,
                precision=precision or trained.precision,
                compile=compile,
                share=trained.share if share is None else share,
                merge=trained.merge if merge is None else merge,
                kernels=kernels or trained.kernels,
                _checkpoint=checkpoint,
            )
        except SpecError as error:
            raise error if spec is not None else spec_damaged(error, checkpoint.folder, trained.plugins) from None
        trainer.changes = found
        trainer._changed = (*trained.changed, *_recorded(found, trainer.step_count))
        return trainer


def _recorded(found: Iterable[Change], step: int) -> Iterator[Changed]:
    """What is kept of differences that change the training."""
    for each in found:
        if each.touches in ("now", "data"):
            yield Changed(step=step, path=each.path, before=each.before, after=each.after)


def _kernels(kernels: str, device: torch.device) -> Kernels:
    """What a device can use of what was asked for."""
    if kernels not in get_args(Kernels):
        raise UsageError(f"kernels is auto, on or off, not '{kernels}'")
    if kernels == "on" and (reason := why_not(torch.empty(0, device=device))):
        raise UsageError(f"kernels cannot be on: {reason}")
    chosen: Kernels = "off" if kernels == "auto" and device.type != "cuda" else kernels  # type: ignore[assignment]  # looked up above
    return chosen


def _settings(device: str, precision: str, compile: str, seed: int) -> Settings:
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision '{precision}': one of {', '.join(PRECISIONS)}")
    if compile not in ("auto", "on", "off"):
        raise UsageError(f"compile is auto, on or off, not '{compile}'")
    if not -(2**64) < seed < 2**64:
        raise UsageError(f"a seed is a whole number below 2 ** 64, not {seed}")
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if chosen.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"there is no device '{device}': auto, cpu or cuda")
    if chosen.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("this machine has no CUDA device: use device cpu")
    return Settings(
        device=torch.device(chosen),
        dtype=PRECISIONS[precision],
        autocast=precision == "bf16",
        compile=compile == "on" or (compile == "auto" and chosen.startswith("cuda")),
        seed=seed,
    )
