"""The plug-ins that a spec uses. A run depends on them, but keeps no copy of them."""

import re
from collections.abc import Mapping
from importlib.metadata import entry_points

from gangraph.language.document.copies import files_of
from gangraph.language.spec import Spec
from gangraph.language.state_sections import STATE_SECTIONS, StateSection
from gangraph.registry import load_plugins, optimizers, vocabulary
from gangraph.update_keys import UpdateKey
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.update_schedule import SCHEDULE_KEYS


def plugins_of(spec: Spec) -> dict[str, str]:
    """Package and version by the name of every plug-in of whose names the spec's text or one of its files uses one."""
    load_plugins()
    words = {word for text in (spec.text, *files_of(spec).values()) for word in re.findall(r"\w+", text)}
    used = {vocabulary[word].function.__module__.partition(".")[0] for word in words & vocabulary.keys()}
    used |= {optimizers[word].function.__module__.partition(".")[0] for word in words & optimizers.keys()}
    keys: dict[str, UpdateKey | StateSection] = {**SCHEDULE_KEYS, **UPDATE_OPTIONS, **STATE_SECTIONS}
    used |= {keys[word].package for word in words & keys.keys()}
    return {name: known for name, (module, known) in _installed().items() if module in used}


def plugin_versions() -> dict[str, str]:
    """Package and version by the name of every plug-in that is installed."""
    return {name: known for name, (_, known) in _installed().items()}


def missing_plugins(used: Mapping[str, str]) -> str:
    """A sentence about the plug-ins of a run that are not installed here; empty where all are."""
    gone = [f"'{name}' ({known})" for name, known in used.items() if name not in _installed()]
    return f"it was trained with the plug-in {', '.join(gone)}, which is not installed here" if gone else ""


def _installed() -> dict[str, tuple[str, str]]:
    """The first module, and package and version, by plug-in."""
    found = {}
    for entry in entry_points(group="gangraph.plugins"):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
        found[entry.name] = (entry.module.partition(".")[0], package)
    return found
