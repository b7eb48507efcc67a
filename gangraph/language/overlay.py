"""Profiles, variants and settings: partial specs laid over a document's tree."""

import re
from collections.abc import Iterator

from gangraph.errors import Problem, SpecError, nearest
from gangraph.language.expression import Call
from gangraph.language.setting import Setting, static_names
from gangraph.language.syntax import ExpressionError, is_loop, parse_expression
from gangraph.language.tree import Mapping, Scalar, Sequence, Tree

SECTIONS = (
    "about",
    "paper",
    "params",
    "let",
    "data",
    "networks",
    "values",
    "losses",
    "train",
    "evaluate",
    "claims",
)


def merge(base: Tree, overlay: Tree) -> Tree:
    """`overlay` over `base`: mappings merge key by key, everything else is replaced."""
    if not isinstance(base, Mapping) or not isinstance(overlay, Mapping):
        return overlay
    merged = copy(base)
    for key, value in overlay.items():
        merged[key] = merge(base[key], value) if key in base else value
    return merged


def lay_over(document: Mapping, overlay: Tree, name: Scalar, kind: str = "variants") -> Mapping:
    """A profile, variant or phase over a document. Names that are no section are params.

    One of the `profiles` may lay itself over variants too: what a variant is in that profile.

    Raises:
        SpecError: the overlay is not a mapping, or names neither a section nor a param, or a profile refines a
            variant that the document does not have.
    """
    if not isinstance(overlay, Mapping):
        raise SpecError(
            [Problem(code="GG203", message=f"'{name}' is a partial spec", span=name.span, expected="a mapping")]
        )
    sections, params = Mapping(), Mapping()
    sections.span = params.span = overlay.span
    known = _names(document, "params")
    own = (*SECTIONS, "variants") if kind == "profiles" else SECTIONS
    problems = list(_new_variants(document, overlay)) if kind == "profiles" else []
    for key, value in overlay.items():
        if key in own:
            sections[key] = value
        elif key in known:
            params[key] = value
        else:
            options = (*own, *known)
            problems.append(
                Problem(
                    code="GG201",
                    message=f"'{key}' is neither a section nor a param",
                    span=key.span,
                    expected="one of " + ", ".join(options),
                    fix=nearest(key, options),
                )
            )
    if problems:
        raise SpecError(problems)
    if params:
        sections = _with(sections, "params", merge(sections.get(Scalar("params"), params), params))
    merged = merge(document, sections)
    assert isinstance(merged, Mapping)
    return merged


def set_value(document: Mapping, path: str, value: str) -> Mapping:
    """The document with the value at a dotted path replaced: `train.batch`, `train.step.0.every`, `data.x.folder`.

    A path that begins with a param's name means that param; one that goes into a call names its keyword. It goes
    through `for k in 0..2:` as if what stands under it stood there.

    The value is an expression. Where a text stood, and for an argument of a source that was no number, a value that
    cannot be an expression is a text without its quotes: `photos/a`, where nothing is called `photos` or `a`.

    Raises:
        SpecError: the path leads nowhere; the message names the nearest key. Or the value may be a text or an
            expression; the message shows the quotes.
    """
    written = Scalar.of(value, f"--set {path}")
    parts = re.split(r"\.(?![^\[]*\])", path)  # not the dots of a family, `D[k in 0..2]`
    if parts[0] in _names(document, "params"):
        parts.insert(0, "params")
    result = _set(document, parts, Setting(written, static_names(document)), Scalar.of(path, "--set"))
    assert isinstance(result, Mapping)
    return result


def copy(tree: Mapping) -> Mapping:
    """A shallow copy with the same place."""
    twin = Mapping(tree)
    twin.span = tree.span
    return twin


def _names(document: Mapping, section: str) -> tuple[str, ...]:
    inside = document.get(Scalar(section))
    return tuple(inside) if isinstance(inside, Mapping) else ()


def _new_variants(document: Mapping, profile: Mapping) -> Iterator[Problem]:
    """A profile says what the document's variants are in it, and has none of its own."""
    known = _names(document, "variants")
    refined = profile.get(Scalar("variants"))
    for key in refined if isinstance(refined, Mapping) else ():
        if key not in known:
            yield Problem(
                code="GG205",
                message=f"there is no variant '{key}' that this profile could refine",
                span=key.span,
                found=str(key),
                expected="one of " + ", ".join(known) if known else "none: this spec has no variants",
                fix=nearest(key, known),
            )


def _with(mapping: Mapping, key: str, value: Tree) -> Mapping:
    twin = copy(mapping)
    place = next((known for known in mapping if known == key), None) or Scalar.at(
        key, value.span.text, (value.span.start,) * (len(key) + 1)
    )
    twin[place] = value
    return twin


def _set(tree: Tree, parts: list[str], value: Setting, path: Scalar) -> Tree:
    if not parts:
        return value.in_place_of(tree)
    head, rest = parts[0], parts[1:]
    if isinstance(tree, Mapping):
        if head in tree:
            return _with(tree, head, _set(tree[Scalar(head)], rest, value, path))
        loop = next(filter(is_loop, tree), None)
        if loop is not None:  # what is written once for many is set once, and a path does not name the loop
            return _with(tree, loop, _set(tree[loop], parts, value, path))
        if rest or path.startswith("params."):
            raise _nowhere(path, head, tuple(tree))
        return _with(tree, head, value.written)
    if isinstance(tree, Sequence):
        if re.fullmatch("[0-9]{1,9}", head) and int(head) < len(tree):
            twin = Sequence(tree)
            twin.span, twin.raw = tree.span, tree.raw
            twin[int(head)] = _set(tree[int(head)], rest, value, path)
            return twin
        raise _nowhere(path, head, tuple(map(str, range(len(tree)))))
    return _set_keyword(tree, head, rest, value, path)


def _set_keyword(scalar: Scalar, keyword: str, rest: list[str], value: Setting, path: Scalar) -> Scalar:
    """Replace or add one keyword of the call that a scalar holds."""
    try:
        call = parse_expression(scalar)
    except ExpressionError as error:
        raise SpecError([error.problem]) from None
    if rest or not isinstance(call, Call):
        raise _nowhere(path, keyword, ())
    old = next((node for key, node in call.keywords if key == keyword), None)
    new = value.as_argument(old, of_data="data" in path.split(".")[:-2])
    if old is not None:
        start = scalar.offsets.index(old.span.start)
        end = start + (old.span.end - old.span.start)
        return Scalar.of(scalar[:start] + new + scalar[end:], new.text.name)
    comma = ", " if call.arguments or call.keywords else ""
    return Scalar.of(f"{scalar[: scalar.rindex(')')]}{comma}{keyword}={new})", new.text.name)


def _nowhere(path: Scalar, head: str, known: tuple[str, ...]) -> SpecError:
    start = path.find(head)
    problem = Problem(
        code="GG204",
        message=f"the path leads nowhere: '{head}' is not there",
        span=path.part(start, start + len(head)),
        expected="one of " + ", ".join(known) if known else "a value that holds named things",
        fix=nearest(head, known),
    )
    return SpecError([problem])
