"""gangraph: write a GAN as a graph; the engine checks it, plans it, compiles it and runs it.

spec = gangraph.load("my_gan.yaml", profile="quick", set={"params.blocks": 3})
trainer = gangraph.Trainer(spec, device="cpu", seed=0)
trainer.train(steps=100)
"""

import sys

# `python -m gangraph` puts the folder that it is started in before all else: a file `yaml.py` there would be run.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    _called = {
        name
        for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
        if flag[:1] == "-" and flag[-1:] == "m"
    }
    if _called & {"gangraph", "gangraph.__main__"}:
        del sys.path[0]

import getpass
import os
from typing import TYPE_CHECKING, Any

from gangraph.errors import ArgumentError, DataError, GangraphError, Problem, RunError, SpecError, UsageError
from gangraph.language.state_sections import state_section
from gangraph.registry import layer, loss, metric, op, optimizer, source
from gangraph.update_options import update_option
from gangraph.update_schedule import update_guard

if TYPE_CHECKING:
    from gangraph.pipeline import check_spec, load
    from gangraph.trainer import Trainer

__version__ = "0.1.0"
__all__ = [
    "ArgumentError", "DataError", "GangraphError", "Problem", "RunError", "SpecError", "Trainer", "UsageError",
    "check_spec", "layer", "load", "loss", "metric", "op", "optimizer", "source", "state_section", "update_guard",
    "update_option",
]  # fmt: skip


def _name_user() -> None:
    """Torch asks for the user's name as it is imported, and a user in a container may have none."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user{os.getuid()}"


_name_user()


def __getattr__(name: str) -> Any:
    """Names that need torch are imported when they are first used, so that the command line starts at once."""
    if name in ("load", "check_spec"):
        from gangraph import pipeline

        return getattr(pipeline, name)
    if name == "Trainer":
        from gangraph.trainer import Trainer

        return Trainer
    raise AttributeError(f"module 'gangraph' has no attribute '{name}'")
