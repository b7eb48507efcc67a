"""What unpaired translation changes and what it does not: the game is the base's, and the truth is known."""

import pytest

import gangraph
from gangraph.views.diff import differences
from tests.support import load, trainer


def test_only_the_photographs_are_others_than_in_the_base_without_its_identity_loss() -> None:
    base = gangraph.load("cyclegan", profile="paper", variant="no_identity")
    found = differences(base, gangraph.load("geometry", profile="paper"))
    assert len(found) == 4
    assert all(each.startswith(("folder of x", "folder of y", "source x", "source y")) for each in map(str, found))


@pytest.mark.parametrize("variant", [None, "shape"])
@pytest.mark.parametrize(("there", "left", "moved"), [("scene.under", 0, 1), ("scene.image", 1, 0)])
def test_what_is_left_and_what_was_moved_are_measured_against_the_true_counterpart(
    there: str, left: float, moved: float, variant: str | None
) -> None:
    truth = "scene.image" if there == "scene.under" else "scene.under"
    run = trainer(load("geometry", variant=variant, evaluate__values__there=there, evaluate__values__back=truth))
    look = run.evaluate(8)
    assert look is not None
    found = [look.metrics[name] for name in ("left_y", "left_x", "moved")]
    assert found == pytest.approx([left, left, moved], abs=1e-6)
    assert (look.metrics["error_y"] > 0) == (left == 1)


@pytest.mark.parametrize(("variant", "factor"), [(None, "texture"), ("shape", "shape")])
def test_one_factor_tells_the_domains_apart(variant: str | None, factor: str) -> None:
    (phase,) = gangraph.load("geometry", profile="quick", variant=variant).phases
    x, y = (dict(phase.data[name].keywords) for name in ("x", "y"))
    assert {name for name in y if name != "offset" and x[name] != y[name]} == {factor}
    assert "offset" in y  # no scene is in both
