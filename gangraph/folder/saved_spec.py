"""The spec that a checkpoint was trained by, from the copies that it holds."""

from collections.abc import Mapping
from pathlib import Path

from gangraph.errors import CheckpointError, MissingPluginError, SpecError
from gangraph.folder.plugins import missing_plugins
from gangraph.folder.state import FILE, Trained, damaged, read_state
from gangraph.language.document.copies import files_of
from gangraph.language.document.parse import Choice, parse, parse_text
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec


def spec_of(trained: Trained) -> Spec:
    """The spec of a checkpoint, from the copies that it holds. Raises SpecError as `load`."""
    return _resolved(trained, _choice(trained))


def load_text(trained: Trained, folder: Path) -> Spec:
    """The spec that the checkpoint in `folder` was trained from. Raises CheckpointError where it has errors."""
    try:
        return spec_of(trained)
    except SpecError as error:
        raise spec_damaged(error, folder, trained.plugins) from None


def spec_damaged(error: SpecError, folder: Path, plugins: Mapping[str, str] | None = None) -> CheckpointError:
    """The error about the text that a checkpoint holds, or about plug-ins that it needs and that are not there."""
    gone = missing_plugins(plugins or {})
    if gone:
        return MissingPluginError(f"checkpoint '{folder}' cannot be used: {gone}")
    first = next(problem for problem in error.problems if problem.severity == "error")
    place = f"{first.span}: {first.code}: {first.message}" + (f", found {first.found}" if first.found else "")
    fix = f"; {first.fix}" if first.fix else ""
    way_out = "a run goes on by a corrected spec: gangraph run SPEC --resume RUN"
    return damaged(folder, FILE, f"extra.spec: its text has errors: {place}{fix}; {way_out}")


def trained_fingerprint(trained: Trained, saved: Spec) -> str:
    """What a checkpoint was trained by."""
    return trained.fingerprint or fingerprint(saved)


def _choice(trained: Trained, asked: Choice | None = None) -> Choice:
    """The form of the spec that was trained, with what is asked for in its place."""
    asked = asked or Choice()
    return Choice(
        profile=asked.profile or trained.profile,
        variant=asked.variant or trained.variant or None,
        set={**trained.settings, **asked.set},
    )


def _resolved(trained: Trained, choice: Choice) -> Spec:
    origin = Path(trained.origin) if trained.origin else None
    document = parse_text(trained.spec, name=f"{trained.name}.yaml", origin=origin, copies=trained.files)
    return resolve(document, choice)


def asked_of(checkpoint: Path, source: str | None, asked: Choice) -> Spec | None:
    """The spec that a run is to go on with: its own, with what is asked for; None where that is nothing.

    What a person does not say is as the run had it. Copies of files stand for those that are gone from beside a spec.

    Raises:
        SpecError: it does not parse, or lacks the profile, variant or path.
        UsageError: there is no such spec.
        CheckpointError: the checkpoint is damaged.
    """
    trained = read_state(checkpoint).trained
    choice = _choice(trained, asked)
    if source is None:
        return None if choice == _choice(trained) else _resolved(trained, choice)
    document = parse(source, spare=trained.files)
    if document.name != trained.name:  # another system need not have the profile, variant and settings of this one
        return resolve(parse(source), asked)
    return resolve(document, choice)


def copies_of(spec: Spec) -> Mapping[str, str]:
    """Everything that a spec was read from, by the path in a run's folder."""
    return {**files_of(spec), "spec.yaml": spec.text}  # last: an evaluator may be called spec
