"""`base:`, the spec that a document is laid over, merged as a profile is, with the files of both."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

from gangraph.errors import Problem, SpecError, called_by, nearest, refuse
from gangraph.language.document.library import BaseFile, Files, UnreadableError
from gangraph.language.document.overlay import copy, overlaid, overlays, sections_of
from gangraph.language.document.tree import Tree, TreeMapping, TreeSequence, read_tree
from gangraph.language.document.validate import other_version
from gangraph.language.scalar import Scalar

DEEPEST = 8  # bases of bases
_OWN = ("gangraph", "name", "about", "claims", "reported")  # what a spec says of itself, and not of what it is


@dataclass(frozen=True, slots=True)
class Based:
    """A document with everything that it has from its bases.

    `texts` are the texts of the bases, by the path of a copy. `lost` has warnings by profile: what has no effect in it.
    """

    tree: TreeMapping
    files: Files
    texts: Mapping[str, str]
    problems: tuple[Problem, ...] = ()
    lost: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)


def laid_on_base(tree: TreeMapping, files: Files) -> Based:
    """The document laid over the spec that its `base:` names, which may have a base of its own.

    A variant in a file of its own is another experiment: name, about, claims and reported numbers are its own, and
    the base's are left out. Everything else is merged as an overlay is.

    Raises:
        SpecError: there is no such base, its text cannot be read, bases lead back to each other or are very many, or
            the document has no name of its own or a key that is neither a section nor a param of the base.
    """
    return _laid(tree, files, ())


def _laid(tree: TreeMapping, files: Files, followed: tuple[BaseFile, ...]) -> Based:
    called = tree.get(Scalar("base"))
    if called is None:
        return Based(tree, files, {base.copy: base.text.content for base in followed}, tuple(other_version(tree)))
    if not isinstance(called, Scalar):
        found = "a mapping" if isinstance(called, TreeMapping) else "a list"
        refuse("GG203", "a base is named", called.span, found=found, expected="one name or path, such as gan")
    base = _found(called, files, followed)
    try:
        under = _laid(read_tree(base.text), replace(files, more=(*files.more, *base.folders)), (*followed, base))
    except SpecError as error:
        raise SpecError(called_by(problem, "base", called.span) for problem in error.problems) from None
    own = _without(tree, ("base",))
    if "name" not in own:
        message = "a spec that is laid over another has a name of its own"
        refuse("GG202", message, called.span, expected="name:", fix="add a line such as 'name: my_variant'")
    handed = _without_own(under.tree)
    own = sections_of(handed, own, called, "base")
    merged = overlaid(handed, own)
    assert isinstance(merged, TreeMapping)
    merged.span = tree.span  # what is missing in both is missing here
    problems = (*under.problems, *other_version(own), *_said_again(handed, own))
    return replace(under, tree=merged, problems=problems, lost={**under.lost, **dict(_lost(handed, own, merged))})


def _found(called: Scalar, files: Files, followed: tuple[BaseFile, ...]) -> BaseFile:
    """The file of a base. Raises SpecError."""
    above = followed[-1] if followed else None
    try:
        base = files.base(called, above)
    except UnreadableError as error:
        refuse(
            "GG450",
            f"the base '{called}' is no spec",
            called.span,
            found=error.called,
            expected="a spec, which begins with 'gangraph: 1'",
            reason=error.reason,
        )
    if base is None:
        _refuse_missing(called, files, above)
    copies = [each.copy for each in followed]
    if base.copy in copies:
        circle = " -> ".join([*copies[copies.index(base.copy) :], base.copy])
        refuse("GG208", "the bases lead back to each other", called.span, circle, "a spec without base: at the end")
    if len(followed) == DEEPEST:
        refuse("GG208", "there are too many bases", called.span, f"{DEEPEST + 1}", f"at most {DEEPEST}")
    return base


def _refuse_missing(called: Scalar, files: Files, above: BaseFile | None) -> NoReturn:
    path = f"{called.removesuffix('.yaml')}.yaml"
    fix = f"did you mean '{path}'?" if files.has_base(path, above) else nearest(called, files.base_names(above))
    expected = "a shipped spec, or the path of a file beside this one or below, such as mine.yaml"
    refuse("GG207", "there is no such base", called.span, str(called), expected, fix)


def _without_own(tree: TreeMapping) -> TreeMapping:
    """A base without what is about itself alone (name, about, claims, reported), in its profiles and variants too."""
    kept = _without(tree, _OWN)
    for section in ("profiles", "variants"):
        key = next((key for key in kept if key == section), None)
        if key is not None:
            kept[key] = _unclaimed(kept[key])
    return kept


def _unclaimed(overlays: Tree) -> Tree:
    """Named overlays without their claims, and without those of the variants that a profile has."""
    if not isinstance(overlays, TreeMapping):
        return overlays
    kept = copy(overlays)
    for name, overlay in overlays.items():
        if isinstance(overlay, TreeMapping):
            inner = _without(overlay, ("claims",))
            kept[name] = inner
            for key in [key for key in inner if key == "variants"]:
                inner[key] = _unclaimed(inner[key])
    return kept


def _without(tree: TreeMapping, keys: tuple[str, ...]) -> TreeMapping:
    kept = copy(tree)
    for key in [key for key in tree if key in keys]:
        del kept[key]
    return kept


def _said_again(base: TreeMapping, own: TreeMapping) -> Iterator[Problem]:
    """What the document says exactly as its base does."""
    for path, theirs, ours in _both(base, _without(own, ("profiles", "variants"))):
        if _same(theirs, ours):
            yield Problem(
                code="GG644",
                message="this is what the base says",
                span=ours.span,
                found=f"{path}, as at {theirs.span}",
                expected="only what differs from the base",
                fix="remove it, so that it follows the base",
                severity="warning",
            )


def _lost(base: TreeMapping, own: TreeMapping, merged: TreeMapping) -> Iterator[tuple[str, tuple[Problem, ...]]]:
    """By profile of the base, what the document says and that profile says otherwise."""
    followed = {path for path, theirs, ours in _both(base, own) if _same(theirs, ours)}
    for profile in overlays(base, "profiles"):
        theirs, mine = _profile(base, profile, base), _profile(own, profile, merged)
        told = followed | {path for path, _, _ in _both(theirs, mine)}
        found = [each for each in _both(theirs, own) if each[0] not in told and not _same(*each[1:])]
        if found:
            yield profile, tuple(_overruled(profile, *each) for each in found)


def _profile(tree: TreeMapping, name: str, document: TreeMapping) -> TreeMapping:
    """The sections that a profile changes; none if it is not there, or wrong, which is told where it is laid over."""
    key, overlay = overlays(tree, "profiles").get(name, (Scalar(name), TreeMapping()))
    with contextlib.suppress(SpecError):
        return sections_of(document, overlay, key, "profiles") if overlay else TreeMapping()
    return TreeMapping()


def _overruled(profile: str, path: str, theirs: Tree, ours: Tree) -> Problem:
    return Problem(
        code="GG645",
        message=f"the profile '{profile}' says otherwise, and a profile is laid over the document",
        span=ours.span,
        found=f"{path}, which {theirs.span} sets in this profile",
        expected=f"what holds in this profile under profiles: {profile}:",
        fix=f"say {path} there too; --profile paper is the document itself",
        severity="warning",
    )


def _both(base: Tree, own: Tree, path: str = "") -> Iterator[tuple[str, Tree, Tree]]:
    """Everything that both set, other than mappings: its path, and the two values."""
    if not (isinstance(base, TreeMapping) and isinstance(own, TreeMapping)):
        yield path[:-1], base, own
        return
    for key, value in own.items():
        if key in base:
            yield from _both(base[key], value, f"{path}{key}.")


def _same(first: Tree, second: Tree) -> bool:
    return _plain(first) == _plain(second)


def _plain(tree: Tree) -> object:
    """A tree without places, to be compared."""
    if isinstance(tree, TreeMapping):
        return {str(key): _plain(value) for key, value in tree.items()}
    return [_plain(item) for item in tree] if isinstance(tree, TreeSequence) else str(tree)
