"""Stage 1, parse: the text of a spec to a document with positions, checked for its syntax in every profile."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gangraph.errors import Problem, SpecError, Text, nearest, refuse, sorted_problems
from gangraph.language.document.base import laid_on_base
from gangraph.language.document.library import Files, display, find_spec
from gangraph.language.document.overlay import lay_over, overlays, set_value
from gangraph.language.document.tree import Tree, TreeMapping, read_tree
from gangraph.language.document.validate import read_document
from gangraph.language.scalar import Scalar


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A spec's text as a tree, laid over its base; `files` are those that it may call.

    `bases` are the texts of its base, of the base of that, and so on, by the path of a copy. `problems` are those that
    leave enough of the document to look for more; `check` reports them with its own. `lost` has warnings by profile.
    """

    text: Text
    tree: TreeMapping
    files: Files
    bases: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    lost: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that the spec gives itself."""
        return str(self.tree.get(Scalar("name"), "?"))

    def overlays(self, section: str) -> dict[str, tuple[Scalar, Tree]]:
        """The named overlays of `profiles` or `variants`, with their keys."""
        return overlays(self.tree, section)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which form of a document is meant: a profile, a variant and settings, laid over in this order.

    A name that is a Scalar is refused where it was written, any other at the option that gives it.
    """

    profile: str | None = None
    variant: str | None = None
    set: Mapping[str, str] = field(default_factory=dict)


def parse(source: str | Path, *, spare: Mapping[str, str] | None = None) -> ParsedDocument:
    """Read a spec: a path, or the name of a spec that gangraph ships; `spare` as in `parse_text`.

    Raises:
        SpecError: the text is not YAML, or has unknown, missing or misplaced keys. What is wrong with single
            expressions, profiles and variants is kept in the result's `problems`.
        UsageError: there is no such file or shipped spec.
    """
    path, content = find_spec(source)
    return parse_text(
        content,
        name=str(source) if path is None else _display(path),
        origin=path.parent if path else None,
        spare=spare,
    )


def parse_text(
    content: str,
    *,
    name: str = "spec",
    origin: Path | None = None,
    copies: Mapping[str, str] | None = None,
    spare: Mapping[str, str] | None = None,
) -> ParsedDocument:
    """Read a spec from a string; messages call it `name`. Raises SpecError as `parse` does.

    Args:
        origin: the folder where files that it calls may lie.
        copies: texts of such files by path, as `networks/unet.yaml`, which stand for what lies there.
        spare: texts by path that stand for what is no longer there.
    """
    text = Text(name, content)
    based = laid_on_base(read_tree(text), Files(origin, copies or {}, spare=spare or {}))
    document = ParsedDocument(text, based.tree, based.files, based.texts, lost=based.lost)
    problems = [*based.problems]
    read_document(document.tree, problems)
    for section in ("profiles", "variants"):
        for key, overlay in document.overlays(section).values():
            try:
                laid = lay_over(document.tree, overlay, key, section)
                read_document(laid, problems)
                for refined, variant in _refined(overlay, laid) if section == "profiles" else ():
                    read_document(lay_over(laid, variant, refined), problems)
            except SpecError as error:
                problems.extend(error.problems)
    return replace(document, problems=sorted_problems(problems))


def _refined(profile: Tree, laid: TreeMapping) -> Iterator[tuple[Scalar, Tree]]:
    """The variants that a profile changes, as they are in that profile."""
    variants = overlays(laid, "variants")
    yield from (variants[name] for name in overlays(profile, "variants"))


def chosen_tree(document: ParsedDocument, choice: Choice) -> tuple[TreeMapping, str]:
    """The tree with profile, variant and settings laid over it, and the profile's name.

    Raises:
        SpecError: there is no such profile or variant, or a setting's path leads nowhere.
    """
    default = document.tree.get(Scalar("default_profile"))
    profile = choice.profile or (str(default) if default is not None else "paper")
    tree = document.tree
    if profile != "paper":
        where = default if choice.profile is None and isinstance(default, Scalar) else _placed(profile, "--profile")
        tree = _overlaid(tree, "profiles", profile, where)
    for variant in _listed(_placed(choice.variant or "", "--variant")):
        tree = _overlaid(tree, "variants", variant, variant)
    for path, value in choice.set.items():
        tree = set_value(tree, path, value)
    return tree, str(profile)


def _placed(name: str, option: str) -> Scalar:
    return name if isinstance(name, Scalar) else Scalar.of(name, option)


def _listed(names: Scalar) -> Iterator[Scalar]:
    """Names between commas, each with its place."""
    start = 0
    for name in names.split(","):
        end = start + len(name)
        if name:
            yield Scalar.at(name, names.text, names.offsets[start : end + 1])
        start = end + 1


def _overlaid(tree: TreeMapping, section: str, name: str, where: Scalar) -> TreeMapping:
    named = overlays(tree, section)
    if name not in named:
        known = [*(["paper"] if section == "profiles" else []), *named]
        message = f"there is no {section[:-1]} '{name}'"
        expected = "one of " + ", ".join(known) if known else f"none: this spec has no {section}"
        refuse("GG205", message, where.span, found=name, expected=expected, fix=nearest(name, known))
    key, overlay = named[name]
    return lay_over(tree, overlay, key, section)


def _display(path: Path) -> str:
    """The path as a person would type it here; shipped specs are `specs/NAME.yaml` wherever they are installed."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return display(path)
