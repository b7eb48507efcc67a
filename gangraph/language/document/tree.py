"""YAML with positions: text to a tree of scalars, mappings and sequences that know where they were written."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from gangraph.errors import Edit, Problem, Span, SpecError, Text, refuse
from gangraph.language.scalar import Scalar


class TreeMapping(dict[Scalar, "Tree"]):
    """A YAML mapping with its place."""

    span: Span


class TreeSequence(list["Tree"]):
    """A YAML sequence with its place, and its raw text for places where a list is an expression."""

    span: Span
    raw: Scalar


Tree = Scalar | TreeMapping | TreeSequence

_LONGEST = 1_000_000  # characters
_DEEPEST = 30  # levels of mappings and sequences in each other
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_QUOTE_HINT = (
    "inside [ ] and { } YAML ends a plain value at ',' '[' ']' '{' '}': "
    "quote the expression, or write it on a line of its own"
)
# What YAML's own words mean to the author of a spec, and what helps.
_SAID = {
    "flow": ("a '[' or '{' does not end where it should", _QUOTE_HINT),
    "mapping values are not allowed": (
        "there is a second ':' in this value",
        "quote a value that contains ': '; a line indented further than its key continues the value above it",
    ),
    "could not find expected ':'": (
        "a line is not 'key: value'",
        "write a ':' and a space after the key, or indent what goes on from the line above",
    ),
    "alphabetic or numeric character": ("'*', '&' or '!' stands where YAML begins a value", _QUOTE_HINT),
    "another document": ("a second document begins here", "one spec in one file"),
    "expected <block end>": (
        "this line does not fit the indentation of the lines above it",
        "align the keys of a mapping; quote a value that has text after its closing quote",
    ),
    "quoted scalar": ("a quote is opened and never closed", "close the quote"),
    "'\\t'": ("a tab stands where YAML indents", "indent with spaces"),
    "cannot start any token": ("no value can begin with this character", "quote the value"),
    "special characters are not allowed": ("a character that cannot be printed", "remove it"),
}


def read_tree(text: Text) -> TreeMapping:
    """The tree of a YAML document whose top level is a mapping.

    Raises:
        SpecError: not YAML, not a mapping, a key twice, or an anchor, alias or tag (which specs do not use).
    """
    if len(text.content) > _LONGEST:
        refuse(
            "GG101",
            "this text is too long for a spec",
            Span(text, 0, 1),
            found=f"{len(text.content):,} characters",
            expected=f"at most {_LONGEST:,}",
        )
    _refuse_tokens(text)
    try:
        node = yaml.compose(text.content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SpecError([_yaml_problem(text, error)]) from None
    problems: list[Problem] = []
    tree = _convert(node, text, problems) if node is not None else None
    if not isinstance(tree, TreeMapping):
        message = "a spec is a YAML mapping" if tree is not None else "the spec is empty"
        problems.append(
            Problem(code="GG101", message=message, span=Span(text, 0, 1), expected="keys such as data: and networks:")
        )
    if problems:
        raise SpecError(problems)
    assert isinstance(tree, TreeMapping)
    return tree


def _refuse_tokens(text: Text) -> None:
    """Refuse anchors, aliases, tags and nesting that no spec needs. Raises SpecError."""
    problems, depth = [], 0
    fix = "quote a value that begins with '*', '&' or '!'; to say a thing once, name it under params:"
    try:
        for token in yaml.scan(text.content, Loader=yaml.SafeLoader):
            span = Span(text, token.start_mark.index, token.end_mark.index)
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if isinstance(token, (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken)):
                found = text.content[span.start : span.end]
                problems.append(
                    Problem(
                        code="GG101",
                        message="anchors, aliases and tags are not used in specs",
                        span=span,
                        found=found,
                        fix=fix,
                    )
                )
            if depth > _DEEPEST:
                refuse("GG101", "this is nested too deeply", span, expected=f"at most {_DEEPEST} levels")
    except yaml.YAMLError as error:
        problems = [_yaml_problem(text, error)]
    if problems:
        raise SpecError(problems)


def _yaml_problem(text: Text, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    index = min(mark.index if mark else getattr(error, "position", 0), max(0, len(text.content) - 1))
    said = str(getattr(error, "problem", None) or getattr(error, "reason", "") or "not readable")
    context = str(getattr(error, "context", "") or "")
    message, fix = next(
        (meaning for words, meaning in _SAID.items() if words in f"{context} {said}"), ("this is not YAML", "")
    )
    return Problem(
        code="GG101", message=message, span=Span(text, index, index + 1), reason=f"YAML says: {said}", fix=fix
    )


def _convert(node: yaml.Node, text: Text, problems: list[Problem]) -> Tree:
    span = Span(text, node.start_mark.index, node.end_mark.index)
    torn = _torn_expression(node)
    if torn is not None:
        place = Span(text, torn.start_mark.index, torn.end_mark.index)
        problems.append(
            Problem(
                code="GG101",
                message="YAML tears this expression apart",
                span=place,
                found=torn.value,
                fix=_QUOTE_HINT,
                mend=_quoted(text, place.start, span.end),
            )
        )
        return Scalar.at("none", text, (span.start,) * 5)
    if isinstance(node, yaml.ScalarNode):
        return Scalar.at(node.value, text, tuple(_offsets(node, text.content)), quoted=node.style in ("'", '"'))
    if isinstance(node, yaml.SequenceNode):
        sequence = TreeSequence(_convert(item, text, problems) for item in node.value)
        sequence.span = span
        raw = text.content[span.start : span.end]
        sequence.raw = Scalar.at(raw, text, tuple(range(span.start, span.end + 1)))
        return sequence
    mapping = TreeMapping()
    mapping.span = span
    for key_node, value_node in node.value:
        key = _convert(key_node, text, problems)
        if not isinstance(key, Scalar):
            found = "sequence" if isinstance(key, TreeSequence) else "mapping"
            problems.append(Problem(code="GG101", message="a key is a name", span=key.span, found=found))
            continue
        if key in mapping:
            problems.append(
                Problem(code="GG103", message=f"'{key}' is written twice", span=key.span, fix="keep one of the two")
            )
        mapping[key] = _convert(value_node, text, problems)
    return mapping


def _torn_expression(node: yaml.Node) -> yaml.ScalarNode | None:
    """The item of a flow collection that YAML ended at a comma: its parentheses close in a later item."""
    if not isinstance(node, yaml.CollectionNode) or not node.flow_style:
        return None
    items = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
    plain = [item for item in items if isinstance(item, yaml.ScalarNode) and item.style is None]
    open_brackets = [item.value.count("(") - item.value.count(")") for item in plain]
    for index, (item, count) in enumerate(zip(plain, open_brackets, strict=True)):
        if count > 0 and min(open_brackets[index:]) < 0:
            return item
    return None


def _quoted(text: Text, start: int, end: int) -> Edit | None:
    """The fix that puts a whole expression in quotes, up to the comma or bracket that ends it."""
    depth = 0
    for index in range(start, end):
        letter = text.content[index]
        if depth == 0 and letter in ",]}\n":
            return _in_quotes(Span(text, start, index))
        depth += (letter in "([{") - (letter in ")]}")
    return None


def _in_quotes(span: Span) -> Edit | None:
    written = span.characters.rstrip()
    mark = next((mark for mark in ('"', "'") if mark not in written and "\\" not in written), None)
    simple = mark is not None and "\n" not in written and "#" not in written
    return Edit(Span(span.text, span.start, span.start + len(written)), f"{mark}{written}{mark}") if simple else None


def _offsets(node: yaml.ScalarNode, content: str) -> Iterator[int]:
    """The place of each character of a scalar, found again in the raw text.

    YAML folds line breaks and indentation into one space and removes quotes and block headers; everything
    else stands in the raw text in the same order.
    """
    position, end = node.start_mark.index, node.end_mark.index
    if node.style in ("'", '"'):
        position += 1
    elif node.style in ("|", ">"):
        position = content.find("\n", position) + 1
    for index, character in enumerate(node.value):
        blank = character.isspace()
        while position < end and content[position] != character and not (blank and content[position].isspace()):
            position += 1
        yield min(position, max(end - 1, 0))
        position += 1
        if blank and not node.value[index + 1 : index + 2].isspace():
            while position < end and content[position].isspace():
                position += 1
    yield min(position, end)
