"""Ops by patterns, by rank and by place: numbers, gradients of both orders, and whether samples meet."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gangraph.pipeline import check_spec
from gangraph.registry import vocabulary
from gangraph.vocabulary.arithmetic import eq, ge, gt, le, lt, ne
from gangraph.vocabulary.choosing import (
    argmax,
    argmin,
    argsort,
    cumsum,
    eye,
    flip,
    gather,
    log_softmax,
    roll,
    round_,
    sign,
    sort,
    stack,
    take,
    tensor,
    topk,
    where,
)
from gangraph.vocabulary.ops import patches
from gangraph.vocabulary.patterns import einsum, rearrange, reduce, repeat
from tests.support import read

B, N, C = 3, 4, 5


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Float64 numbers that differ by far more than a step of gradcheck."""
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.requires_grad_()


ORDER = torch.tensor([2, 0, 1])
PLACES = torch.tensor([[3, 0], [1, 1], [0, 2]])
DIFFERENTIABLE: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "products of each sample": (
        lambda q, k: einsum("b i c, b j c -> b i j", q, k), lambda q, k: q @ k.mT, (numbers(B, N, C), numbers(B, 2, C))
    ),
    "products of pairs of samples": (
        lambda q, k: einsum("i c, j c -> i j", q, k), lambda q, k: q @ k.T, (numbers(B, C), numbers(B, C, seed=1))
    ),
    "a diagonal": (lambda x: einsum("b i i -> b i", x), lambda x: x.diagonal(0, 1, 2), (numbers(B, N, N),)),
    "three values": (
        lambda x, y, z: einsum("b c, b c, k c -> b k", x, y, z), lambda x, y, z: (x * y) @ z.T,
        (numbers(B, C), numbers(B, C, seed=1), numbers(2, C, seed=2)),
    ),
    "squares": (
        lambda x: patches(x, 2, 2),
        lambda x: torch.stack([x[..., i : i + 2, j : j + 2] for i in (0, 2) for j in (0, 2)], 1),
        (numbers(B, 2, 4, 5),),
    ),
    "squares that overlap": (
        lambda x: patches(x, 3, 1),
        lambda x: torch.stack([x[..., i : i + 3, j : j + 3] for i in (0, 1) for j in range(3)], 1),
        (numbers(B, 2, 4, 5),),
    ),
    "a Gram matrix": (
        lambda x: einsum("b row h w, b column h w -> b row column", x, x) / 6,
        lambda x: torch.stack([s.flatten(1) @ s.flatten(1).T for s in x]) / 6, (numbers(B, N, 2, 3),),
    ),
    "a sum": (lambda x: reduce(x, "b n c -> b c", "sum"), lambda x: x.sum(1), (numbers(B, N, C),)),
    "a mean over the batch": (lambda x: reduce(x, "b n -> n", "mean"), lambda x: x.mean(0), (numbers(B, N),)),
    "a maximum": (lambda x: reduce(x, "b n c -> b 1 c", "max"), lambda x: x.amax(1, True), (numbers(B, N, C),)),
    "a minimum": (lambda x: reduce(x, "n c -> c", "min"), lambda x: x.amin(1), (numbers(B, N, C),)),
    "a product": (lambda x: reduce(x, "b n -> b", "prod"), lambda x: x.prod(1), (numbers(B, N),)),
    "windows": (
        lambda x: reduce(x, "b (n k) -> b n", "mean", k=2), lambda x: x.reshape(B, 2, 2).mean(2), (numbers(B, N),)
    ),
    "planes": (
        lambda x: repeat(x, "b c -> b c h w", h=2, w=3), lambda x: x[:, :, None, None].expand(B, C, 2, 3),
        (numbers(B, C),),
    ),
    "places as a sequence": (
        lambda x: rearrange(x, "b c h w -> b (h w) c"), lambda x: x.flatten(2).mT, (numbers(B, C, 2, 2),)
    ),
    "places without the batch": (
        lambda x: rearrange(x, "c (h w) -> h w c", h=2), lambda x: x.reshape(B, C, 2, 2).permute(0, 2, 3, 1),
        (numbers(B, C, 4),),
    ),
    "an order": (lambda x: sort(x, descending=True), lambda x: x.sort(1, True).values, (numbers(B, N),)),
    "an order of the batch": (lambda x: sort(x, dim=0), lambda x: x.sort(0).values, (numbers(B, N),)),
    "the largest": (lambda x: topk(x, 2), lambda x: x.sort(1, True).values[:, :2], (numbers(B, N),)),
    "the smallest samples": (
        lambda x: topk(x, 2, dim=0, largest=False), lambda x: x.sort(0).values[:2], (numbers(B),)
    ),
    "several places": (
        lambda x: gather(x, PLACES), lambda x: torch.stack([s[i] for s, i in zip(x, PLACES, strict=True)]),
        (numbers(B, N, C),),
    ),
    "places on a map": (
        lambda x: gather(x, PLACES[..., None]), lambda x: torch.stack([x[k, PLACES[k]] for k in range(B)])[:, :, None],
        (numbers(B, N, C),),
    ),
    "one place": (lambda x: gather(x, ORDER), lambda x: x[torch.arange(B), ORDER], (numbers(B, N),)),
    "another order of the batch": (lambda x: take(x, ORDER), lambda x: x[ORDER], (numbers(B, N),)),
    "a choice by sample": (
        lambda x, y: where(torch.tensor([1.0, 0.0, 2.0]), x, y), lambda x, y: torch.stack([x[0], y[1], x[2]]),
        (numbers(B, N), numbers(B, N, seed=1)),
    ),
    "a choice with a number": (
        lambda x: where(gt(x, 0), x, 2), lambda x: x * (x > 0) + 2.0 * (x <= 0), (numbers(B, N),)
    ),
    "a mirror": (flip, lambda x: x[:, :, [1, 0]], (numbers(B, N, 2),)),
    "the next sample": (lambda x: roll(x, 1, dim=0), lambda x: x[[2, 0, 1]], (numbers(B, N),)),
    "a stack": (
        stack, lambda x, y: torch.cat([x[:, None], y[:, None]], 1), (numbers(B, N), numbers(B, N, seed=1))
    ),
    "sums so far": (cumsum, lambda x: x @ torch.ones(N, N, dtype=x.dtype).triu(), (numbers(B, N),)),
    "log of softmax": (log_softmax, lambda x: x - x.exp().sum(1, True).log(), (numbers(B, N),)),
    "straight through": (
        lambda x: x + (sign(x) - x).detach(), lambda x: x + (x.sign() - x).detach(), (numbers(B, N),)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_numbers_and_gradients_are_those_of_plain_torch(name: str) -> None:
    made, expected, inputs = DIFFERENTIABLE[name]
    torch.testing.assert_close(made(*inputs), expected(*inputs), rtol=1e-12, atol=1e-12)
    if name == "straight through":  # whose gradient is none of its steps
        assert torch.equal(torch.autograd.grad(made(*inputs).sum(), inputs)[0], torch.ones(B, N).double())
        return
    assert gradcheck(made, inputs)
    assert gradgradcheck(made, inputs)


def test_numbers_that_tie_share_the_gradient_of_a_maximum() -> None:
    x = torch.tensor([[1.0, 2.0, 2.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(reduce(x, "b n -> b", "max").sum(), x)
    assert gradient.tolist() == [[0, 0.5, 0.5, 0]]
    (gradient,) = torch.autograd.grad(topk(x, 1).sum(), x)
    assert sorted(gradient.tolist()[0]) == [0, 0, 0, 1]


def test_order_and_places_are_whole_numbers() -> None:
    x = torch.tensor([[0.5, -1.0, 0.5], [3.0, 1.0, 2.0]])
    assert argsort(x).tolist() == [[1, 0, 2], [1, 2, 0]]
    assert argsort(x, dim=0, descending=True).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert argmax(x).tolist() == [0, 0]
    assert argmin(x).tolist() == [1, 1]
    assert argmin(x[:, :, None].expand(2, 3, 4)).shape == (2, 4)
    assert sorted(argsort(torch.rand(64), dim=0).tolist()) == [*range(64)]


def test_comparisons_are_ones_and_zeros_in_the_type_of_what_is_compared() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    made = [compare(x, 2) for compare in (lt, le, gt, ge, eq, ne)]
    assert [each.tolist() for each in made] == [[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0], [1, 0, 1]]
    assert {each.dtype for each in made} == {torch.float64}
    assert eq(torch.tensor([3, 4]), 4).dtype == torch.get_default_dtype()


def test_literals_have_the_type_of_what_they_are_like() -> None:
    x = torch.zeros(B, 2, 3, dtype=torch.float64)
    assert tensor(((1, 2), (3, 4)), x).dtype == torch.float64
    assert tensor((1, 2, 3), torch.zeros(2, dtype=torch.int64)).tolist() == [1, 2, 3]
    assert eye(x).tolist() == [[[1, 0, 0], [0, 1, 0]]] * B
    assert take(tensor(((1, 2), (3, 4)), x), torch.tensor([1, 1, 0])).tolist() == [[3, 4], [3, 4], [1, 2]]
    assert round_(torch.tensor([0.5, 1.5, -0.6])).tolist() == [0, 2, -1]


def test_products_of_a_mask_and_numbers_have_the_wider_type() -> None:
    mask = torch.tensor([1, 0, 1])
    assert einsum("b, b c -> b c", mask, numbers(B, C)).dtype == torch.float64


MIXES: dict[str, list[tuple[tuple[Any, ...], bool]]] = {
    "einsum": [
        (("b i c, b j c -> b i j", "bic", "bjc"), False),
        (("i c, j c -> i j", "ic", "jc"), True),
        (("b c, k c -> b k", "bc", None), False),
        (("k c, b c -> b k", None, "bc"), False),
        (("b c, b c -> c", "bc", "bc"), True),
        (("b c -> c b", "bc"), True),
        (("i i -> i", "ii"), True),
        (("k c, c -> k", None, None), False),
        (("b c, b k -> b c k", "bc", None), True),
    ],
    "reduce": [
        (("bnc", "b n c -> b c", "sum"), False), (("bnc", "n c -> c", "sum"), False), (("bn", "n c -> c", "sum"), True),
        (("bn", "(b k) c -> b c", "mean"), True), ((None, "k c -> c", "mean"), False),
    ],
    "rearrange": [
        (("bchw", "c h w -> (c h w)"), False), (("btc", "b t c -> (b t) c"), False),
        (("btc", "b t c -> (t b) c"), True),
        (("bc", "b c -> c b"), True), (("bcc", "b c -> c b"), False), (("bchw", "b ... -> b (...)"), False),
        (("bchw", "b ... -> (...) b"), True), (("bchw", "c ... -> (...) c"), False),
    ],
    "repeat": [
        (("bc", "b c -> b c k"), False), (("bc", "b c -> (b k) c"), False), (("bc", "b c -> (k b) c"), True),
        (("bc", "b c -> k b c"), True),
    ],
    "sort": [(("bn",), False), (("bn", 0), True)],
    "argsort": [(("bn", -1), False), (("bn", 0, True), True)],
    "topk": [(("bn", 2), False), (("bn", 2, 0), True)],
    "flip": [(("bn",), False), (("bn", 0), True)],
    "roll": [(("bn", 1), False), (("bn", 1, 0), True), ((None, 1, 0), False)],
    "take": [(("bn", "b"), True), ((None, "b"), False)],
    "gather": [(("bn", "b"), False)],
}  # fmt: skip


@pytest.mark.parametrize("name", MIXES)
def test_a_call_says_whether_samples_meet(name: str) -> None:
    patterns = name == "einsum"
    for arguments, expected in MIXES[name]:
        given = [
            torch.empty([2] * len(each)) if isinstance(each, str) and (i > 0 if patterns else i == 0) else each
            for i, each in enumerate(arguments)
        ]
        assert vocabulary[name].mixes_samples(given) is expected, (name, arguments)


REFUSED: list[tuple[Callable[[], Tensor], str]] = [
    (lambda: einsum("b i c", numbers(2, 2, 2)), "has no '->'"),
    (lambda: einsum("bic -> b", numbers(2, 2, 2)), "names 1 axis of a value that has 3: .*; names stand apart"),
    (lambda: einsum("b c -> b k", numbers(2, 2)), "'k' is an axis of the result and of no value"),
    (lambda: einsum("b c -> b b", numbers(2, 2)), "'b' stands twice in the result"),
    (lambda: einsum("b c, b c -> b", numbers(2, 2)), "of 2 values, and there are 1"),
    (lambda: einsum("b c, b c -> b", numbers(2, 2), numbers(2, 3)), "'c' is 2 in one place and 3 in another"),
    (lambda: einsum("(b c) -> b", numbers(2)), "is no name of an axis"),
    (lambda: reduce(numbers(2, 3), "b (n k) -> b n", "sum", k=2), "can't divide axis of length 3 in chunks of 2"),
    (lambda: rearrange(numbers(2, 3), "b c"), "has no '->'"),
    (lambda: repeat(numbers(2, 3), "b c -> b c h"), "'h'|h"),
    (lambda: sort(numbers(3), dim=-1), "dimension -1 of .* is the batch, which is written dim=0"),
    (lambda: sort(numbers(3), dim=1), "has no dimension 1"),
    (lambda: topk(numbers(2, 3), 4), "k is 4, expected 1 to 3"),
    (lambda: gather(numbers(2, 3), torch.tensor([0.5, 1])), "expected \\[B, N, ...\\] at places, int64"),
    (lambda: gather(numbers(2, 3), torch.tensor([1])), "the places are those of 1 samples, and there are 2"),
    (lambda: take(numbers(2, 3), torch.tensor([[1]])), "expected \\[B, ...\\] at places, int64"),
    (lambda: stack(numbers(2, 3), dim=0), "is the batch"),
    (lambda: eye(numbers(3)), "at least two dimensions"),
    (lambda: patches(numbers(B, 2, 4, 5), 5, 1), "size: found 5, expected a side that fits into"),
    (lambda: patches(numbers(B, 4, 5), 2, 1), "a side that fits into"),
    (lambda: patches(numbers(B, 2, 4, 5), 2, 0), "stride: found 0, expected 1 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_does_not_fit_is_refused(call: Callable[[], Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call()


WHOLE = """
gangraph: 1
name: whole
data: {{x: normal(2), k: categorical(5)}}
networks: {{G: {{inputs: x, layers: [linear(2)]}}}}
values: {{{values}}}
losses: {{l: mean(G(x))}}
train:
  batch: 4
  length: 3 steps
  optimizers: {{g: "sgd(G, lr=0.1)"}}
  step: [{{update: g, minimize: l}}]
"""


@pytest.mark.parametrize("first", ["k + 1", "k + 1.0"])
@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ("k + 1", True), ("k + 1.0", False), ("k * 1", True), ("1 * k", True), ("k * 1.0", False), ("1.0 * k", False),
        ("k + 0", True), ("0 + k", True), ("k - 0", True), ("k + 0.0", False), ("0.0 + k", False), ("k - 0.0", False),
    ],
)  # fmt: skip
def test_a_type_depends_on_what_is_written_alone(first: str, written: str, whole: bool) -> None:
    (checked,) = check_spec(read(WHOLE.format(values=f"first: {first}, value: {written}")))
    made = checked.types.nodes[checked.graph.values["value"]].dtype
    assert made == (torch.int64 if whole else torch.float32)


def test_arguments_that_are_equal_and_no_others_are_one_node() -> None:
    (checked,) = check_spec(read(WHOLE.format(values="a: 2 * x, b: 2 * x, c: 2.0 * x")))
    assert checked.graph.values["a"] == checked.graph.values["b"] != checked.graph.values["c"]
