"""A spec with parameters, at some moment of its training: it steps, goes from phase to phase, saves and resumes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from gangraph.errors import SpecError, UsageError
from gangraph.folder.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from gangraph.folder.plugins import plugins_of
from gangraph.folder.saved_spec import spec_damaged
from gangraph.language.continuation import Change
from gangraph.language.document.copies import files_of
from gangraph.language.expression.model import Quantity
from gangraph.language.expression.schedule import Clock
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import PhaseSpec, Spec
from gangraph.pipeline import check_phase, compile_phase
from gangraph.run.continuing import Requested, applied_changes, recorded, spec_trained
from gangraph.run.draws import Draws
from gangraph.run.elsewhere import begun_with, found_weights, require_same
from gangraph.run.engine import Engine
from gangraph.run.given import Given
from gangraph.run.hand_over import hand_over
from gangraph.run.networks import make_networks
from gangraph.run.restore import restore
from gangraph.run.saving import state_of, tensors_of
from gangraph.run.settings import choose_device, choose_kernels, choose_settings
from gangraph.run.start import begin_with
from gangraph.run.verify import verify_networks
from gangraph.saved.find_checkpoint import find_checkpoint, results_folder
from gangraph.saved.state import FILE, Changed, Trained, damaged


class Training:
    """A spec with parameters, optimizers and state. `gangraph.Trainer` adds the training loop and evaluation.

    Args:
        Those of `gangraph.Trainer`.

    Attributes:
        phase: the present one, counted from 0; it began at step `phase_start`.
        changes: what differs from the run that this goes on with.
        elsewhere: where the weights of networks from elsewhere were found, by the calls that name them.
        started: a line for each network that `start:` gave weights to.
        between_steps: whether no step is under way, so that a checkpoint can be saved.

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
        _start: Checkpoint | None = None,  # which `resume` goes on from
    ) -> None:
        self.spec, self.seed, self.precision, self.share, self.merge = spec, seed, precision, share, merge
        self.settings = choose_settings(device, precision, compile, seed)
        self.kernels_asked, self.kernels = kernels, choose_kernels(kernels, self.settings.device)
        self.phase, self.phase_start, self._seen_before = 0, 0, 0
        self._epochs_before: float | None = 0.0
        self.changes: tuple[Change, ...] = ()
        self._changed: tuple[Changed, ...] = ()
        self.between_steps = True
        self.checked = tuple(check_phase(spec, phase) for phase in spec.phases)
        self._prepare()
        self.elsewhere = found_weights(spec)
        if _start is not None:
            require_same(_start.state.trained.elsewhere, self.elsewhere, _start.folder)
            self._go_to(_start)
        self.engine = self._make_engine()
        if _start is not None:
            restore(self.engine, _start)
        self.started = tuple(begin_with(self.engine, spec.start)) if _start is None and spec.start else ()

    def _prepare(self) -> None:
        """Make sure that networks from other specs are trained; here they have to be. Subclasses may train them."""

    def _go_to(self, checkpoint: Checkpoint) -> None:
        """Go to the phase of a checkpoint, after verifying that its networks are those of the spec."""
        trained = checkpoint.state.trained
        if trained.phase >= len(self.spec.phases):
            why = f"extra.phase: found {trained.phase}, but the spec has {len(self.spec.phases)}, counted from 0"
            raise damaged(checkpoint.folder, FILE, why)
        verify_networks(self.checked[trained.phase], checkpoint)
        self.phase, self.phase_start, self._seen_before = trained.phase, trained.phase_start, trained.seen_before
        self._epochs_before = trained.epochs_before

    def _make_engine(self) -> Engine:
        checked, settings = self.checked[self.phase], self.settings
        program = compile_phase(checked, share=self.share, merge=self.merge, kernels=self.kernels)
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

    # Where it is

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network, and every averaged copy, by the spec's names. They are ordinary modules."""
        return {**self.engine.networks.live, **self.engine.networks.averages}

    @property
    def states(self) -> dict[str, Tensor]:
        """The present value of every state, by name."""
        return dict(self.engine.states.tensors)

    @property
    def present(self) -> PhaseSpec:
        """The spec of the present phase."""
        return self.spec.phases[self.phase]

    @property
    def draws(self) -> tuple[str, ...]:
        """Every name under which something can be given to `step`: sources, random layers in calls, histories."""
        return (*self.engine.draws.sources, *self.engine.chances.known)

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
        length, epoch_length, seen = self.present.length, self._epoch_length(), self.engine.draws.seen()
        step, epoch = self.step_count - self.phase_start, seen / epoch_length if epoch_length else 0.0
        share = Clock(step, epoch, seen).position(length.unit) / length.value if length else 0.0
        return Clock(step, epoch, seen, min(1.0, share))

    def _epoch_length(self) -> int:
        """Samples in an epoch, or 0 while no data has been opened, since nothing was drawn then."""
        return max(self.engine.draws.sizes.values(), default=0)

    @property
    def phase_done(self) -> bool:
        """Whether the current phase has reached its length. Raises UsageError where it has none."""
        if self.present.length is None:
            raise UsageError("the spec states no length: give a number of steps")
        return self.clock.progress >= 1.0

    @property
    def in_last_phase(self) -> bool:
        """Whether no other phase follows."""
        return self.phase + 1 == len(self.spec.phases)

    @property
    def done(self) -> bool:
        """Whether the last phase has reached its length."""
        return self.in_last_phase and self.phase_done

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

    def position(self, length: Quantity) -> float:
        """How far it is over all phases, in the unit of a length."""
        return Clock(self.step_count, self._epochs(), self.seen).position(length.unit)

    def _epochs(self) -> float:
        """Epochs over all phases, each by the data of its own; an older checkpoint did not keep those before."""
        before, epoch_length = self._epochs_before, self._epoch_length()
        if before is None:
            before = self._seen_before / epoch_length if epoch_length else 0.0
        return before + self.clock.epoch

    # How it moves

    def step(self, draws: Given | None = None) -> dict[str, float]:
        """One pass through `step:`.

        Args:
            draws: batches by source name, for sources that are not to be drawn: a tensor [B, ...], or for a
                source with several fields a mapping of them; where the step draws the source several times, a list
                of as many, used one after the other. All have the same B, and that is the batch size of this step.
                What happens by chance within the step is given under the other names of `draws`: the numbers of a
                random layer as it takes them, `fake:layers.dropout`, and the choices of a history, `fake:history`.

        Returns:
            Every loss that was computed, by name; a loss computed several times has its last value. Every state that
            is one number stands beside them, as the step leaves it.

        Raises:
            NotFiniteError: a loss is NaN or infinite; it names the value where that began. The update in which it
                was found has changed no parameter.
            UsageError: `draws` names something that is no source, or holds batches that are not as the source
                declares them, or not one for each draw; nothing has moved.
        """
        return {name: float(value) for name, value in self.advance(draws).items()}

    def advance(self, draws: Given | None = None) -> dict[str, Tensor]:
        """`step` without reading the losses back from the device."""
        with self._moving():
            return self.engine.step(self.clock, draws)

    def next_phase(self) -> list[str]:
        """Begin the next phase; returns what begins anew, as `network.path` or `state NAME` (see `hand_over`)."""
        with self._moving():
            before, self._seen_before, self._epochs_before = self.engine, self.seen, self._epochs()
            self.phase, self.phase_start = self.phase + 1, self.step_count
            before.draws.close()
            self.engine = self._make_engine()
            fresh = hand_over(before, self.engine, optimizers=bool(self.present.carries))
            self.engine.begin(self.clock)
            self.engine.starts.waiting.clear()
            return fresh

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """While this is entered, and for ever if its body fails, there is no complete state to save."""
        self.between_steps = False
        yield
        self.between_steps = True

    # What it leaves behind, and begins from

    def save(self, folder: str | Path, more: Mapping[str, str] | None = None) -> Path:
        """Write everything that resuming needs to a folder, atomically.

        Args:
            more: texts of other files that belong into the folder, by name.

        Raises:
            RunError: it cannot be written; what stood there is still there.
        """
        state = state_of(self.engine, self._trained())
        return write_checkpoint(Path(folder), state, tensors_of(self.engine), more)

    def _trained(self) -> Trained:
        return Trained(
            spec=self.spec.text,
            name=self.spec.name,
            profile=self.spec.profile,
            variant=self.spec.variant,
            settings=dict(self.spec.settings),
            origin=self.spec.origin,
            fingerprint=fingerprint(self.spec),
            seed=self.seed,
            precision=self.precision,  # type: ignore[arg-type]  # looked up when the settings were chosen
            phase=self.phase,
            phase_start=self.phase_start,
            seen_before=self._seen_before,
            epochs_before=self._epochs_before,
            share=self.share,
            merge=self.merge,
            kernels=self.kernels_asked,  # type: ignore[arg-type]  # likewise
            device=self.settings.device.type,
            files=files_of(self.spec),
            plugins=plugins_of(self.spec),
            sizes=self.engine.draws.sizes,
            meanings={
                name: {field: list(words) for field, words in told.items()}
                for name, told in self.engine.draws.meanings.items()
            },
            changed=list(self._changed),
            elsewhere={**self.elsewhere, **begun_with(self.spec)},
        )

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
                time, the batch, what is saved and evaluated, data of the same form, phases that have not begun.
            seed: the saved one; another is refused.
            Others as for `Trainer`. The differences stand in `changes`.

        Raises:
            CheckpointError: the folder holds no checkpoint, or one that is damaged.
            SpecError: `spec` has errors.
            UsageError: something else is asked for than what was trained; all of it is named. Or there is no such run.
        """
        checkpoint = read_checkpoint(find_checkpoint(folder))
        trained, saved = checkpoint.state.trained, spec_trained(checkpoint, folder, spec)
        asked = Requested(
            spec=spec,
            seed=seed,
            precision=precision,
            share=share,
            merge=merge,
            kernels=kernels,
            device=choose_device(device).type,
        )
        found = applied_changes(trained, saved, asked, results_folder(checkpoint.folder))
        try:
            resumed = cls(
                spec or saved,
                device=device,
                seed=trained.seed,
                precision=precision or trained.precision,
                compile=compile,
                share=trained.share if share is None else share,
                merge=trained.merge if merge is None else merge,
                kernels=kernels or trained.kernels,
                _start=checkpoint,
            )
        except SpecError as error:
            raise error if spec is not None else spec_damaged(error, checkpoint.folder, trained.plugins) from None
        resumed.changes = found
        resumed._changed = (*trained.changed, *recorded(found, checkpoint.state.step))
        return resumed
