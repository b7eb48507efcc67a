"""The spec that a checkpoint was trained by, from the copies that it holds."""

from collections.abc import Mapping
from pathlib import Path

from gangraph.errors import CheckpointError, MissingPluginError, SpecError
from gangraph.folder.plugins import missing_plugins
from gangraph.language.document.copies import files_of
from gangraph.language.document.parse import Choice, parse
from gangraph.language.document.saved import choice_of, document_of, with_found
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.saved.state import FILE, Trained, damaged, read_state


def spec_of(trained: Trained) -> Spec:
    """The spec of a checkpoint, from the copies that it holds. Raises SpecError as `load`."""
    return _resolved(trained, choice_of(trained))


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
    corrected = "a spec without the error goes on, if a run may change that: gangraph run SPEC --resume RUN"
    way_out = f"{corrected}; if not, gangraph run SPEC begins a new one"
    return damaged(folder, FILE, f"extra.spec: its text has errors: {first_error(error)}; {way_out}")


def first_error(error: SpecError) -> str:
    """The first problem in one line, and how to mend it."""
    first = next(problem for problem in error.problems if problem.severity == "error")
    place = f"{first.span}: {first.code}: {first.message}" + (f", found {first.found}" if first.found else "")
    return place + (f"; {first.fix}" if first.fix else "")


def trained_fingerprint(trained: Trained, saved: Spec) -> str:
    """What a checkpoint was trained by."""
    return trained.fingerprint or fingerprint(saved)


def _resolved(trained: Trained, choice: Choice) -> Spec:
    return resolve(document_of(trained), choice)


def asked_of(checkpoint: Path, source: str | None, asked: Choice) -> Spec | None:
    """The spec that a run is to go on with: its own, with what is asked for; None where that is nothing.

    What a person does not say is as the run had it. Copies of files stand for those that are gone from beside a spec.

    Raises:
        SpecError: it does not parse, or lacks the profile, variant or path.
        UsageError: there is no such spec.
        CheckpointError: the checkpoint is damaged.
    """
    trained = read_state(checkpoint).trained
    choice = choice_of(trained, asked)
    if source is None:
        return None if choice == choice_of(trained) else _resolved(trained, choice)
    document = parse(source, spare=trained.files)
    if document.name != trained.name:  # another system need not have the profile, variant and settings of this one
        return resolve(parse(source), asked)
    return resolve(with_found(document, trained), choice)


def copies_of(spec: Spec) -> Mapping[str, str]:
    """Everything that a spec was read from, by the path in a run's folder."""
    return {**files_of(spec), "spec.yaml": spec.text}  # last: an evaluator may be called spec
