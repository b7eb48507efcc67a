"""The run that trains what is asked for, found by what it trains."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gangraph.errors import CheckpointError
from gangraph.folder.saved_spec import load_text, trained_fingerprint
from gangraph.language.continuation import Change, changes
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.saved.find_checkpoint import numbered
from gangraph.saved.state import read_state


@dataclass(frozen=True, slots=True)
class Begun:
    """A run on disk that trains what is asked for, and at which step it is."""

    run: Path
    step: int


def find_trained(spec: Spec, seed: int, precision: str | None, folders: Iterable[Path]) -> tuple[Begun | None, str]:
    """The run among some folders that trains a spec; of several, which are the same run, the one that is furthest.

    It is known by what it trains: the fingerprint of its training, with profile, variant and seed.

    Returns:
        The run, and where there is none the sentence that says so, and how one that is near may be gone on with.
    """
    wanted, found, near = fingerprint(spec), list[Begun](), list[str]()
    for folder in folders:
        for checkpoint in reversed(numbered(folder)):
            try:
                state = read_state(checkpoint)
                saved = load_text(state.trained, checkpoint)
            except CheckpointError:
                continue  # an older one may be good
            trained = state.trained
            same = (trained.profile, trained.variant, trained.seed) == (spec.profile, spec.variant, seed)
            if same and precision in (None, trained.precision):
                if trained_fingerprint(trained, saved) == wanted:
                    found.append(Begun(folder, state.step))
                elif trained.name == spec.name and (said := _nearly(changes(saved, spec, trained.phase))):
                    near.append(f"{folder} differs in {said}; --resume {folder} goes on with it so")
            break
    if found:
        return max(found, key=lambda begun: begun.step), ""
    return None, "; ".join([f"no run here trains this with seed {seed}, so one begins", *near[:1]])


def _nearly(found: tuple[Change, ...]) -> str:
    """The only difference of a run that could continue with it."""
    training = [change for change in found if change.touches != "evaluation"]
    return str(training[0]) if len(training) == 1 and training[0].touches == "now" else ""
