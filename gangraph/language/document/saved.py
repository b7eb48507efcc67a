"""The document that a checkpoint was trained by, from the copies that it holds."""

from dataclasses import replace
from pathlib import Path

from gangraph.language.document.parse import Choice, ParsedDocument, parse_text
from gangraph.saved.state import Trained


def document_of(trained: Trained) -> ParsedDocument:
    """The document, with the files that it calls. Raises SpecError as `parse_text`."""
    origin = Path(trained.origin) if trained.origin else None
    document = parse_text(trained.spec, name=f"{trained.name}.yaml", origin=origin, copies=trained.files)
    return with_found(document, trained)


def with_found(document: ParsedDocument, trained: Trained) -> ParsedDocument:
    """A document that takes weights from where the training of a checkpoint found them."""
    return replace(document, files=replace(document.files, found=trained.elsewhere))


def choice_of(trained: Trained, asked: Choice | None = None) -> Choice:
    """The form of the document that was trained, with what is asked for in its place."""
    asked = asked or Choice()
    return Choice(
        profile=asked.profile or trained.profile,
        variant=asked.variant or trained.variant or None,
        set={**trained.settings, **asked.set},
    )
