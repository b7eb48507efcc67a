"""Which axes may meet, values of pairs of samples, and labels that are chosen."""

import pytest
import torch

from gangraph.errors import ArgumentError, SpecError
from gangraph.pipeline import check_spec
from gangraph.vocabulary.choosing import tensor, where
from gangraph.vocabulary.ops import lerp, mean_where, put
from tests.support import small

PAIRS = 'einsum("i c, j c -> i j", x, fake)'


def codes(term: str, **parts: str) -> list[str]:
    """The codes of what is wrong with a spec that has a term in a loss."""
    try:
        check_spec(small(fool=f"logistic.generator(D(fake)) + mean({term})", **parts))
    except SpecError as error:
        return [problem.code for problem in error.problems if problem.severity == "error"]
    return []


@pytest.mark.parametrize(
    "term",
    [
        f"{PAIRS} / 0.07",
        f"{PAIRS} * reshape(norm(fake), 1)",
        f"{PAIRS} - batch_mean({PAIRS})",
        f"{PAIRS} * mean(fake)",
        f"softmax({PAIRS})",
        f"where({PAIRS} > 0, {PAIRS}, eye({PAIRS}))",
        f"logsumexp({PAIRS}) * norm(fake)",
        f"cat({PAIRS}, D(fake))",
        f'einsum("i j, j c -> i c", softmax({PAIRS}), fake) * fake',
        f"gather({PAIRS}, argmax({PAIRS}))",
        "fake * tensor([1, 2], like=fake)",
        'einsum("b c, k c -> b k", fake, tensor([[1, 0], [0, 1], [1, 1]], like=x))',
        'reduce(fake, "b c -> c", "mean") * fake',
        "where(norm(fake) > 1, fake, x)",
        "take(fake, argsort(uniform(), dim=0)) * D(fake)",
        "one_hot(where(norm(fake) > 1, categorical(4), 3), 4) * D(fake)",
        "gather(fake, categorical(2)) * norm(fake)",
        "gather(fake, permutation(2)) * D(fake)",
        'lerp(x, fake, rearrange(tensor([0, 1], like=x), "n -> 1 n"))',
        "where(tensor([[0, 1]], like=x), x, fake)",
    ],
)
def test_what_lines_up_sample_by_sample_is_allowed(term: str) -> None:
    assert codes(term) == []


@pytest.mark.parametrize(
    ("term", "code"),
    [
        (f"{PAIRS} * norm(fake)", "GG412"),
        (f"{PAIRS} * D(fake) + norm(x)", "GG412"),
        ("norm(fake) * D(fake)", "GG412"),
        ("norm(fake) * tensor([[1], [2], [3]], like=fake)", "GG412"),
        (f"D({PAIRS})", "GG402"),
        ("stack(norm(fake), norm(x)) * tensor([[1, 1], [1, 1], [1, 1], [1, 1]], like=x)", "GG412"),
        ("gather(fake, categorical(3))", "GG413"),
        ("gather(fake, argmax(tensor([[1, 2, 3]], like=fake) * D(fake)))", "GG413"),
        ("take(tensor([[1, 0], [0, 1]], like=x), categorical(3)) * D(fake)", "GG413"),
        ("take(fake, argsort(uniform(5)))", "GG403"),
        ("lerp(x, fake, tensor([0, 1], like=x))", "GG403"),
        ("where(tensor([0, 1, 0, 1], like=x), x, fake)", "GG412"),
        ("mean_where(x, tensor([0, 1, 0, 1], like=x))", "GG412"),
        ("put(fake, 1, tensor([0, 1, 0, 1], like=x))", "GG412"),
        ("tensor([0.5, 1], like=categorical(4))", "GG403"),
    ],
)
def test_what_does_not_is_refused(term: str, code: str) -> None:
    assert code in codes(term)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_weight_is_one_number_a_sample_or_has_as_many_axes_whatever_the_batch(count: int) -> None:
    x, y = torch.zeros(count, 3, 2, 4), torch.ones(count, 3, 2, 4)
    each, row = torch.arange(float(count)), torch.arange(4.0).reshape(1, 1, 1, 4)
    for weight in (each, each[:, None], each[:, None, None]):
        assert torch.equal(lerp(x, y, weight), each.reshape(-1, 1, 1, 1).expand_as(x))
        assert torch.equal(lerp(0.0, y, weight), each.reshape(-1, 1, 1, 1).expand_as(x))
        assert torch.equal(where(weight, y, x[:1]), (each != 0).float().reshape(-1, 1, 1, 1).expand_as(x))
    assert torch.equal(lerp(x, y, row), row.expand_as(x))
    assert torch.equal(where(row > 1, y, x), (row > 1).float().expand_as(x))
    assert torch.equal(put(x[:, 0, 0], 2, each)[:, 2], each) and torch.equal(
        put(x[:, 0, 0], 2, each[:, None])[:, 2], each
    )
    assert torch.equal(mean_where(y * each.reshape(-1, 1, 1, 1), each > 0)[0, 0, 0, 0], each.sum() / (count - 1))
    long = torch.ones(6)
    for refused in (
        lambda: lerp(x, y, long),
        lambda: where(long, x, y),
        lambda: put(y[:, 0, 0], 0, row[0, 0]),
        lambda: mean_where(x, long),
        lambda: mean_where(x, row),
    ):
        with pytest.raises(ArgumentError, match=r"one .*for each sample"):
            refused()


def test_a_literal_loses_no_fractions() -> None:
    whole = torch.zeros(3, 2, dtype=torch.int64)
    assert tensor(((1, 2.0), (3, 4)), whole).tolist() == [[1, 2], [3, 4]]
    assert put(whole, 1, 2.0).tolist() == [[0, 2]] * 3
    for lost in (lambda: tensor(((1, 2), (0.5, 4)), whole), lambda: put(whole, 1, 0.5)):
        with pytest.raises(ArgumentError, match=r"0\.5, expected whole numbers"):
            lost()


def test_a_network_that_moves_samples_is_not_merged_and_one_that_does_not_is() -> None:
    def coupling(layers: str) -> tuple[str, ...]:
        (phase,) = check_spec(small(networks_d=f"{{inputs: x, layers: '{layers}, linear(1)'}}"))
        return phase.networks["D"].coupling

    assert coupling("roll(1, dim=0)") == ("roll",)
    assert coupling("roll(1)") == ()
    assert coupling('rearrange("b n -> n b"), rearrange("n b -> b n")') == ("rearrange",)
    assert coupling('rearrange("n -> n 1"), reduce("b n k -> b (n k)", "sum")') == ()
