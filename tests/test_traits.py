"""Traits of definitions: each is known by name, and one that does not exist is the author's mistake."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from gangraph.errors import UsageError
from gangraph.registry import layer, load_plugins, loss, metric, op, source, vocabulary
from gangraph.traits import TRAITS, Traits, traits_of
from tests.plugin import installed

NAMES = {each.name for each in fields(Traits)}


@pytest.mark.parametrize(
    ("decorator", "trait", "said"),
    [
        (layer, "mix_samples", "the layer 'doubled' cannot have a trait 'mix_samples'; did you mean 'mixes_samples'?"),
        (layer, "nats", "the layer 'doubled' cannot have a trait 'nats'; the decorators that take it: loss"),
        (source, "zzz", "the source 'doubled' cannot have a trait 'zzz'; there are random"),
    ],
)
def test_a_trait_that_a_kind_does_not_have_is_refused(decorator: type, trait: str, said: str) -> None:
    with pytest.raises(TypeError, match=re.escape(said)):
        decorator("doubled", **{trait: True})(nn.Identity)
    assert "doubled" not in vocabulary


@pytest.mark.parametrize(
    ("decorator", "trait", "value", "expected"),
    [
        (loss, "player", "crtic", "Literal['critic', 'generator'] | None"),
        (loss, "logits", "score", "bool | tuple[str, ...]"),
        (loss, "logits", (1,), "bool | tuple[str, ...]"),
        (loss, "ranges", {"x": (0, 1, 2)}, "Mapping[str, tuple[float, float]] | None"),
        (loss, "ranges", {"x": (False, True)}, "Mapping[str, tuple[float, float]] | None"),
        (op, "range", (0, 1), "Callable[..., tuple[float, float]] | None"),
        (op, "labels", {"label": 3}, "str | Mapping[str, str]"),
        (op, "latex", None, "str | Callable[..., str]"),
        (layer, "mixes_samples", len, "bool"),
        (layer, "moves_state", 1, "bool | None"),
        (metric, "sets", ("samples",), "tuple[tuple[str, ...], ...]"),
    ],
)
def test_a_value_that_a_trait_cannot_have_is_refused(decorator: type, trait: str, value: Any, expected: str) -> None:
    said = f"the trait '{trait}' of the {decorator.__name__} 'doubled' is {value!r}, expected {expected}"
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        decorator("doubled", **{trait: value})(nn.Identity)
    assert "doubled" not in vocabulary


def test_values_that_traits_can_have() -> None:
    given = {"player": "critic", "logits": ("a", "b"), "ranges": {"x": (0, 1.5)}, "labels": {"x": "y"}, "nats": True}
    assert traits_of("loss", "doubled", given) == Traits(**given)


def test_a_plug_in_with_an_unknown_trait_is_named(tmp_path: Path) -> None:
    text = "from gangraph import op\n\n\n@op(stop_gradient=True)\ndef stepped(x):\n    return x > 0\n"
    with (
        installed("steps", "gangraph_steps", text, tmp_path),
        pytest.raises(UsageError, match=r"the plug-in 'steps' .* did you mean 'stops_gradient'\?"),
    ):
        load_plugins()


def test_every_trait_belongs_to_a_kind() -> None:
    assert {trait for traits in TRAITS.values() for trait in traits} == NAMES


def test_the_page_of_plug_ins_tells_of_every_trait() -> None:
    page = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text().partition("## Traits")[2]
    assert set(re.findall(r"`(\w+)=", page)) == NAMES
