"""Where this machine keeps what it made once: the runs that train networks for others."""

import os
from pathlib import Path

from gangraph.errors import RunError
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import EvaluatorSpec, Spec
from gangraph.saved.find_checkpoint import numbered


def cache_folder() -> Path:
    """Where what was made once is kept: $GANGRAPH_CACHE, or ~/.cache/gangraph. Raises RunError where there is no ~."""
    chosen = os.environ.get("GANGRAPH_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "gangraph"
    except RuntimeError:
        raise RunError("this user has no home directory: name a folder in $GANGRAPH_CACHE") from None


def place(spec: Spec) -> Path:
    """The run folder of a spec that trains a network for others."""
    return cache_folder() / "evaluators" / f"{spec.name}-{fingerprint(spec)}"


def newest_checkpoint(evaluator: EvaluatorSpec) -> Path:
    """The checkpoint with a trained network. Raises RunError where there is none."""
    folder = place(evaluator.spec)
    found = numbered(folder)
    if found:
        return found[-1]
    if folder.is_dir():
        raise RunError(f"'{folder}' has results but no checkpoint; remove it, and it is trained again")
    raise RunError(f"the network of '{evaluator.called}' is not trained on this machine: gangraph run trains it first")
