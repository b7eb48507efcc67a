"""Which axes may meet, values of pairs of samples, and labels that are chosen."""

import pytest

from gangraph.errors import SpecError
from gangraph.pipeline import check_spec
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
    ],
)
def test_what_does_not_is_refused(term: str, code: str) -> None:
    assert code in codes(term)


def test_a_network_that_moves_samples_is_not_merged_and_one_that_does_not_is() -> None:
    def coupling(layers: str) -> tuple[str, ...]:
        (phase,) = check_spec(small(networks_d=f"{{inputs: x, layers: '{layers}, linear(1)'}}"))
        return phase.networks["D"].coupling

    assert coupling("roll(1, dim=0)") == ("roll",)
    assert coupling("roll(1)") == ()
    assert coupling('rearrange("b n -> n b"), rearrange("n b -> b n")') == ("rearrange",)
    assert coupling('rearrange("n -> n 1"), reduce("b n k -> b (n k)", "sum")') == ()
