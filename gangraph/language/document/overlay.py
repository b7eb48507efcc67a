"""Profiles, variants and settings: partial specs laid over a document's tree."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gangraph.errors import Edit, Problem, Span, SpecError, nearest, refuse
from gangraph.language.document.setting import Setting, static_names
from gangraph.language.document.tree import Tree, TreeMapping, TreeSequence
from gangraph.language.expression.model import Call, Expression, unparse
from gangraph.language.expression.model import Sequence as Items
from gangraph.language.expression.syntax import is_loop, parse_chain, parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.state_sections import STATE_SECTIONS
from gangraph.update_keys import is_in

_BEFORE = ("about", "paper", "params", "let", "data", "networks", "variables", "start", "values", "losses")
_AFTER = ("train", "evaluate", "claims")
_OF_KIND = {  # what an overlay of some kind may change besides
    "profiles": ("variants",),
    "base": ("gangraph", "name", "default_profile", "profiles", "variants", "reported"),
}

# Where `none` stands for nothing that could be meant: there it removes what is overlaid. A param may be none.
_REMOVED_BY_NONE = (
    (),
    ("data",),
    ("networks",),
    ("variables",),
    ("start",),
    ("values",),
    ("losses",),
    ("state",),
    ("train", "optimizers"),
    ("evaluate", "data"),
    ("evaluate", "values"),
    ("evaluate", "networks"),
    ("evaluate", "samplers"),
    ("evaluate", "metrics"),
    ("evaluate", "results"),
    ("profiles",),
    ("variants",),
)


def _own(kind: str) -> tuple[str, ...]:
    """The sections that an overlay of some kind may change."""
    return (*_BEFORE, *STATE_SECTIONS, *_AFTER, *_OF_KIND.get(kind, ()))


def overlaid(base: Tree, overlay: Tree, path: tuple[str, ...] = ()) -> Tree:
    """`overlay` over `base`: mappings merge key by key, everything else is replaced, or removed by `none`."""
    if not isinstance(base, TreeMapping) or not isinstance(overlay, TreeMapping):
        return overlay
    merged = copy(base)
    for key, value in overlay.items():
        if key in base and path in _REMOVED_BY_NONE and value == "none":
            del merged[key]
        else:
            merged[key] = overlaid(base[key], value, (*path, str(key))) if key in base else value
    return merged


def lay_over(document: TreeMapping, overlay: Tree, name: Scalar, kind: str = "variants") -> TreeMapping:
    """A profile, variant or phase over a document, or a spec over its base.

    Raises:
        SpecError: as `sections_of`.
    """
    merged = overlaid(document, sections_of(document, overlay, name, kind))
    assert isinstance(merged, TreeMapping)
    return merged


def sections_of(document: TreeMapping, overlay: Tree, name: Scalar, kind: str = "variants") -> TreeMapping:
    """The sections that an overlay of a document changes. Names that are no section are params.

    One of the `profiles` may lay itself over variants too: what a variant is in that profile.

    Raises:
        SpecError: the overlay is not a mapping, or names neither a section nor a param, or a profile refines a
            variant that the document does not have.
    """
    if not isinstance(overlay, TreeMapping):
        refuse("GG203", f"'{name}' is a partial spec", name.span, expected="a mapping")
    sections, params = TreeMapping(), TreeMapping()
    sections.span = params.span = overlay.span
    known = _names(document, "params")
    problems = list(_new_variants(document, overlay)) if kind == "profiles" else []
    for key, value in overlay.items():
        if key in _own(kind) or is_in(STATE_SECTIONS, key):
            sections[key] = value
        elif key in known:
            params[key] = value
        else:
            problems.append(_unknown(document, overlay, key, (*_own(kind), *known)))
    if problems:
        raise SpecError(problems)
    if params:
        sections = _with(sections, "params", overlaid(sections.get(Scalar("params"), params), params))
    return sections


def overlays(tree: Tree, section: str) -> dict[str, tuple[Scalar, Tree]]:
    """The named overlays of `profiles` or `variants` that a spec's tree holds, with their keys."""
    inside = tree.get(Scalar(section)) if isinstance(tree, TreeMapping) else None
    return {str(key): (key, value) for key, value in inside.items()} if isinstance(inside, TreeMapping) else {}


def _unknown(document: TreeMapping, overlay: TreeMapping, key: Scalar, known: tuple[str, ...]) -> Problem:
    """The problem of a key that is neither a section nor a param; the fix is `let:` if it is a name there."""
    static = key in _names(document, "let")
    return Problem(
        code="GG201",
        message=f"'{key}' is neither a section nor a param",
        span=key.span,
        expected="one of " + ", ".join(known),
        fix=f"it stands under let: write let: {{{key}: ...}}" if static else nearest(key, known),
        mend=_under_let(overlay, key) if static else None,
    )


def _under_let(overlay: TreeMapping, key: Scalar) -> Edit | None:
    """`rate: 0.1` as `let: {rate: 0.1}`, where it is one line and the overlay has no `let` of its own."""
    value = overlay[key]
    if not isinstance(value, Scalar) or "let" in overlay:
        return None
    content = key.text.content
    end = value.offsets[-1] + value.quoted
    written = content[key.offsets[0] : end]
    own = content[key.offsets[-1] : end].partition(":")[2].strip()
    plain = own if value.quoted or not re.search(r"[,{}\[\]]", own) else f'"{own}"'
    if "\n" in written or (plain != own and '"' in own):
        return None
    return Edit(Span(key.text, key.offsets[0], end), f"let: {{{key}: {plain}}}")


def set_value(document: TreeMapping, path: str, value: str) -> TreeMapping:
    """The document with the value at a dotted path replaced: `train.batch`, `train.step.0.every`, `data.x.folder`.

    A path that begins with a param's name means that param; one that goes into a call names its keyword. It goes
    through `for k in 0..2:` as if what stands under it stood there.

    The value is an expression. Where a text stood, and for an argument of a source that was no number, a value that
    cannot be an expression is a text without its quotes: `photos/a`, where nothing is called `photos` or `a`.

    Raises:
        SpecError: the path leads nowhere; the message names the nearest key. Or the value may be a text or an
            expression; the message shows the quotes.
    """
    parts = re.split(r"\.(?![^\[]*\])", path)  # not the dots of a family, `D[k in 0..2]`
    if parts[0] in _names(document, "params"):
        parts.insert(0, "params")
    setting = Setting(Scalar.of(value, f"--set {path}"), static_names(document))
    result = _Laying(document, Scalar.of(path, "--set"), setting).laid(document, parts)
    assert isinstance(result, TreeMapping)
    return result


def copy(tree: TreeMapping) -> TreeMapping:
    """A shallow copy with the same place."""
    twin = TreeMapping(tree)
    twin.span = tree.span
    return twin


def _names(document: TreeMapping, section: str) -> tuple[str, ...]:
    inside = document.get(Scalar(section))
    return tuple(inside) if isinstance(inside, TreeMapping) else ()


def _new_variants(document: TreeMapping, profile: TreeMapping) -> Iterator[Problem]:
    """A profile says what the document's variants are in it, and has none of its own."""
    known = _names(document, "variants")
    refined = profile.get(Scalar("variants"))
    for key in refined if isinstance(refined, TreeMapping) else ():
        if key not in known:
            yield Problem(
                code="GG205",
                message=f"there is no variant '{key}' that this profile could refine",
                span=key.span,
                found=str(key),
                expected="one of " + ", ".join(known) if known else "none: this spec has no variants",
                fix=nearest(key, known),
            )


def _with(mapping: TreeMapping, key: str, value: Tree) -> TreeMapping:
    twin = copy(mapping)
    place = next((known for known in mapping if known == key), None) or Scalar.at(
        key, value.span.text, (value.span.start,) * (len(key) + 1)
    )
    twin[place] = value
    return twin


@dataclass(frozen=True)
class _Laying:
    """One `--set PATH=VALUE`, laid into a document part by part."""

    document: TreeMapping
    path: Scalar
    value: Setting

    def laid(self, tree: Tree, parts: list[str]) -> Tree:
        """The tree with the value at what is left of the path. Raises SpecError."""
        if not parts:
            return self.value.in_place_of(tree)
        if isinstance(tree, TreeMapping):
            return self._in_mapping(tree, parts)
        if isinstance(tree, TreeSequence):
            return self._in_list(tree, parts)
        return self._in_call(tree, parts)

    def _in_mapping(self, tree: TreeMapping, parts: list[str]) -> TreeMapping:
        head, rest = parts[0], parts[1:]
        if head in tree:
            return _with(tree, head, self.laid(tree[Scalar(head)], rest))
        loop = next(filter(is_loop, tree), None)
        if loop is not None:  # what is written once for many is set once, and a path does not name the loop
            return _with(tree, loop, self.laid(tree[loop], parts))
        known = (*tree, *_own("base")) if tree is self.document else tuple(tree)
        if rest or (head not in known and (tree is self.document or self.path.startswith("params."))):
            raise self._nowhere(parts, tuple(dict.fromkeys(known)))
        return _with(tree, head, self.value.written)

    def _in_list(self, tree: TreeSequence, parts: list[str]) -> TreeSequence:
        head, rest = parts[0], parts[1:]
        if not re.fullmatch("[0-9]{1,9}", head) or int(head) >= len(tree):
            raise self._nowhere(parts, tuple(map(str, range(len(tree)))))
        twin, index = TreeSequence(tree), int(head)
        twin.span, twin.raw = tree.span, tree.raw
        twin[index] = self.laid(tree[index], rest)
        items = _items(tree.raw)
        if len(items) == len(tree):  # a list that is read as one expression
            twin.raw = self._replaced(tree.raw, items[index], str(twin[index]))
        return twin

    def _in_call(self, scalar: Scalar, parts: list[str]) -> Scalar:
        """Replace or add one keyword of the call that a scalar holds. Raises SpecError."""
        keyword = parts[0]
        call = parse_chain(scalar)
        if len(call) != 1 or not isinstance(call[0], Call):
            what = "one value" if len(call) == 1 else f"a chain of {len(call)}"
            place = self.path[: self._start(parts) - 1]
            raise self._nowhere(parts, (), f"the path ends at '{place}', which is {what}", f"--set {place}=...")
        known = tuple(key for key, _ in call[0].keywords)
        if len(parts) > 1:
            said = f"'{unparse(call[0].function)}(...)' is a call, and a path ends at one of its keywords"
            raise self._nowhere(parts, known, said)
        old = dict(call[0].keywords).get(keyword)
        new = self.value.as_argument(old, of_data="data" in self.path.split(".")[:-2])
        if old is not None:
            return self._replaced(scalar, old, new)
        comma = ", " if call[0].arguments or known else ""
        text = f"{scalar[: scalar.rindex(')')]}{comma}{keyword}={new})"
        return Scalar.of(text, self.value.written.text.name)

    def _replaced(self, scalar: Scalar, old: Expression, new: str) -> Scalar:
        """The text of an expression with a part of it replaced."""
        start = scalar.offsets.index(old.span.start)
        end = start + old.span.end - old.span.start
        return Scalar.of(scalar[:start] + new + scalar[end:], self.value.written.text.name)

    def _start(self, parts: list[str]) -> int:
        """Where what is left of the path begins."""
        return len(self.path) - len(".".join(parts))

    def _nowhere(self, parts: list[str], known: tuple[str, ...], said: str = "", fix: str = "") -> SpecError:
        head, start = parts[0], max(0, self._start(parts))
        top = _places(self.document) if not start else ()
        known = (*_names(self.document, "params"), *known) if not start else known  # a path may begin with either
        others = [place for place in top if place.rpartition(".")[2] == parts[-1] != place]
        meant = f"did you mean {' or '.join(map(repr, others[:3]))}?" if others else nearest(head, known)
        problem = Problem(
            code="GG204",
            message=f"the path leads nowhere: {said or f'{head!r} is not there'}",
            span=self.path.part(start, start + len(head)),
            expected="one of " + ", ".join(known) if known else "" if fix else "a value that holds named things",
            fix=fix or meant,
        )
        return SpecError([problem])


def _items(raw: Scalar) -> tuple[Expression, ...]:
    """The members of a list that is an expression."""
    try:
        written = parse_expression(raw)
    except SpecError:
        return ()
    return written.items if isinstance(written, Items) else ()


def _places(tree: Tree, path: str = "") -> Iterator[str]:
    """The paths of everything that has a name in a document: keys of mappings and keywords of calls."""
    if isinstance(tree, TreeMapping):
        for key, value in tree.items():
            if path or key not in ("profiles", "variants"):
                yield f"{path}{key}"
                yield from _places(value, f"{path}{key}.")
    elif isinstance(tree, TreeSequence):
        for index, value in enumerate(tree):
            yield from _places(value, f"{path}{index}.")
    else:
        with contextlib.suppress(SpecError):
            call = parse_expression(tree)
            yield from (f"{path}{key}" for key, _ in (call.keywords if isinstance(call, Call) else ()))
