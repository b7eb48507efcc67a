"""Ops that follow a pattern of axes, in the words of einops: names that stand apart, the batch first.

A name stands for one axis, and has one size wherever it stands. The first axis of a value is its batch. A call mixes
samples unless the batch stays first, so whether it does follows from its pattern.

`rearrange`, `reduce` and `repeat` take patterns without the batch, too: "(c h w) -> c h w" is about each sample. The
number of axes tells which of the two a pattern is; one with `...` names the batch if it begins with `b` or `batch`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce as fold
from typing import Literal

import einops
import torch
from torch import Tensor

from gangraph.registry import op
from gangraph.vocabulary.intervals import same

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EINSUM = 'a pattern such as "b i c, b j c -> b i j"'


def _terms(pattern: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The names of each value of an einsum, and those of its result. Raises ValueError."""
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise ValueError(f"'{pattern}' has no '->', expected {_EINSUM}")
    terms, result = tuple(tuple(term.split()) for term in left.split(",")), tuple(right.split())
    for name in (*(name for term in terms for name in term), *result):
        if not name.isidentifier():
            raise ValueError(f"'{name}' in '{pattern}' is no name of an axis, expected {_EINSUM}")
    return terms, result


def _require_sizes(terms: Sequence[tuple[str, ...]], values: Sequence[Tensor]) -> None:
    """Refuse values that have other axes than a pattern names. Raises ValueError."""
    if len(terms) != len(values):
        raise ValueError(f"the pattern is of {_count(len(terms), 'value')}, and there are {len(values)}")
    known = dict[str, int]()
    for term, value in zip(terms, values, strict=True):
        if len(term) != value.dim():
            named = f"'{' '.join(term)}' names {_count(len(term), 'axis', 'axes')}"
            raise ValueError(f"{named} of a value that has {value.dim()}: {list(value.shape)}; names stand apart")
        for name, size in zip(term, value.shape, strict=True):
            if known.setdefault(name, size) != size:
                raise ValueError(f"'{name}' is {known[name]} in one place and {size} in another")
    if len(known) > len(_LETTERS):
        raise ValueError(f"the pattern names {len(known)} axes, expected at most {len(_LETTERS)}")


def _require_result(terms: Sequence[tuple[str, ...]], result: tuple[str, ...]) -> None:
    """Refuse a result with an axis that no value has, or with one twice. Raises ValueError."""
    for name in result:
        if not any(name in term for term in terms):
            raise ValueError(f"'{name}' is an axis of the result and of no value")
        if result.count(name) > 1:
            raise ValueError(f"'{name}' stands twice in the result")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _einsum_mixes(pattern: str, *values: Tensor | None) -> bool:
    """Whether samples meet: the batches have several names, or the one they have does not stay first, once."""
    terms, result = _terms(pattern)
    batches = {term[0] for term, value in zip(terms, values, strict=True) if value is not None and term}
    if len(batches) != 1:
        return bool(batches)
    batch = batches.pop()
    stays = all(batch not in (term if value is None else term[1:]) for term, value in zip(terms, values, strict=True))
    return result[:1] != (batch,) or not stays


def _indices(names: Iterable[str]) -> str:
    r"""Names of axes as an index in LaTeX: b\, i\, \mathrm{row}."""
    return r"\, ".join(name if len(name) == 1 or not name.isidentifier() else rf"\mathrm{{{name}}}" for name in names)


def _einsum_latex(pattern: str, *values: object) -> str:
    terms, result = _terms(pattern)
    summed = dict.fromkeys(name for term in terms for name in term if name not in result)
    product = r" \, ".join(f"{{$values_{i}}}_{{{_indices(term)}}}" for i, term in enumerate(terms))
    return rf"\textstyle\sum_{{{_indices(summed)}}} {product}" if summed else product


@op(mixes_samples=_einsum_mixes, latex=_einsum_latex, words="the products of $values by $pattern")
def einsum(pattern: str, *values: Tensor) -> Tensor:
    """Products of values, summed over the axes that the result leaves out: einsum("b i c, b j c -> b i j", q, k).

    A name that stands twice in one value takes its diagonal: "i i -> i".
    """
    terms, result = _terms(pattern)
    _require_sizes(terms, values)
    _require_result(terms, result)
    letters = dict(zip(dict.fromkeys(name for term in terms for name in term), _LETTERS, strict=False))
    short = ["".join(letters[name] for name in term) for term in (*terms, result)]
    dtype = fold(torch.promote_types, (value.dtype for value in values))
    made: Tensor = torch.einsum(f"{','.join(short[:-1])}->{short[-1]}", *(value.to(dtype) for value in values))
    return made


def _words(side: str) -> list[str]:
    return side.replace("(", " ( ").replace(")", " ) ").split()


def _leading(side: str) -> str:
    """The first name of one side of a pattern, also inside parentheses; nothing for a side without axes."""
    return next((word for word in _words(side) if word not in "()"), "")


def _top(side: str) -> int:
    """How many axes one side of a pattern has; those in parentheses are one."""
    depth, count = 0, 0
    for word in _words(side):
        count += depth == 0
        depth += (word == "(") - (word == ")")
    return count


def _reorder_mixes(x: Tensor | None, pattern: str, *_: object, **__: object) -> bool:
    """Whether the batch does not stay the first axis, alone or as the slowest part of it."""
    if x is None:
        return False
    left, _arrow, right = _with_batch(x, pattern).partition("->")
    return left.strip().startswith("(") or _leading(left) != _leading(right)


def _with_batch(x: Tensor, pattern: str) -> str:
    """A pattern with the batch, which is named first or left out on both sides. Raises ValueError."""
    left, arrow, right = pattern.partition("->")
    if not arrow:
        raise ValueError(f"'{pattern}' has no '->', expected a pattern such as \"b c h w -> b (h w) c\"")
    if "..." in left:
        named = _leading(left) in ("b", "batch")
    elif _top(left) in (x.dim(), x.dim() - 1):
        named = _top(left) == x.dim()
    else:
        axes = _count(_top(left), "axis", "axes")
        raise ValueError(f"'{left.strip()}' names {axes} of a value that has {x.dim()}: {list(x.shape)}")
    return pattern if named else f"batch {left.strip()} -> batch {right.strip()}"


def _done(how: Callable[[], Tensor], pattern: str) -> Tensor:
    """What einops makes. Raises ValueError with what einops finds wrong, in one line."""
    try:
        return how()
    except einops.EinopsError as error:
        reason = str(error).strip().rpartition("\n")[2].strip()
        raise ValueError(f"'{pattern}': {reason[:1].lower()}{reason[1:]}") from None


def _reordered_latex(_: object, pattern: str, **sizes: object) -> str:
    left, right = (_indices(_words(side)) for side in pattern.split("->"))
    return rf"{{$x}}_{{{left} \to {right}}}"


def _reduced_latex(_: object, pattern: str, how: str, **sizes: object) -> str:
    left, right = (_words(side) for side in pattern.split("->"))
    over = _indices(name for name in left if name.isidentifier() and name not in right)
    signs = {"sum": r"\textstyle\sum", "prod": r"\textstyle\prod", "min": r"\min", "max": r"\max"}
    sign = signs.get(how, rf"\mathrm{{{how}}}")
    return rf"{sign}_{{{over}}} {{$x}}_{{{_indices(left)}}}"


@op(range=same, mixes_samples=_reorder_mixes, latex=_reordered_latex)
def rearrange(x: Tensor, pattern: str, **sizes: int) -> Tensor:
    """Reorder, split or join axes by a pattern, "b c h w -> b (h w) c"; without the batch, "c h w -> (h w) c"."""
    return _done(lambda: einops.rearrange(x, _with_batch(x, pattern), **sizes), pattern)


Reduction = Literal["sum", "mean", "max", "min", "prod"]


@op(mixes_samples=_reorder_mixes, latex=_reduced_latex, words="the $how of $x by $pattern")
def reduce(x: Tensor, pattern: str, how: Reduction, **sizes: int) -> Tensor:
    """The sum, mean, max, min or prod over the axes that the right side leaves out: reduce(x, "b n c -> b c", "max").

    Where several numbers are the greatest or the least, each gets an equal part of the gradient.
    """
    return _done(lambda: einops.reduce(x, _with_batch(x, pattern), how, **sizes), pattern)


@op(range=same, mixes_samples=_reorder_mixes, latex=_reordered_latex)
def repeat(x: Tensor, pattern: str, **sizes: int) -> Tensor:
    """Repeat along axes that only the right side has: repeat(x, "b c -> b c h w", h=4, w=4)."""
    return _done(lambda: einops.repeat(x, _with_batch(x, pattern), **sizes), pattern)
