"""Metrics of classes, and of codes and factors, against numbers that were worked out by hand."""

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gangraph.vocabulary.metrics.codes import active_units, correlation, factor_vae_score, mutual_information_gap
from gangraph.vocabulary.metrics.labels import (
    accuracy,
    class_accuracy,
    class_balance,
    class_divergence,
    class_iou,
    cluster_accuracy,
    covered_classes,
    linear_svm_accuracy,
    nearest_neighbour_accuracy,
)
from tests.metrics.shared import gaussian, uniform

# Two label maps of 1 x 4 positions with 3 classes of which 2 appear: guesses 0 0 1 1 | 1 1 1 0 for 0 0 0 1 | 1 1 1 1.
TRUE = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]])
GUESSED = torch.tensor([[[0, 0, 1, 1]], [[1, 1, 1, 0]]])


def scores(guessed: Tensor, classes: int = 3) -> Tensor:
    """Scores [N, K, ...] whose highest is the guess."""
    return one_hot(guessed, classes).movedim(-1, 1).float() + 0.1 * uniform(1)


def test_accuracy_counts_every_position() -> None:
    assert float(accuracy(scores(GUESSED), TRUE)) == pytest.approx(6 / 8)
    assert float(accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]]), torch.tensor([0, 1, 1]))) == (
        pytest.approx(2 / 3)
    )


def test_class_accuracy_and_iou_by_hand() -> None:
    assert float(class_accuracy(scores(GUESSED), TRUE)) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert float(class_iou(scores(GUESSED), TRUE)) == pytest.approx((2 / 4 + 4 / 6) / 2)


def test_a_class_that_is_only_guessed_counts_for_iou_alone() -> None:
    guessed = GUESSED.clone()
    guessed[0, 0, 0] = 2
    assert float(class_accuracy(scores(guessed), TRUE)) == pytest.approx((1 / 3 + 4 / 5) / 2)
    assert float(class_iou(scores(guessed), TRUE)) == pytest.approx((1 / 4 + 4 / 6 + 0) / 3)


@pytest.mark.parametrize("ignored", [255, -1, 2])
def test_an_ignored_label_does_not_count(ignored: int) -> None:
    labels = TRUE.clone()
    labels[0, 0, 2] = labels[1, 0, 3] = ignored
    assert float(accuracy(scores(GUESSED), labels, ignore=ignored)) == 1
    assert float(class_iou(scores(GUESSED), labels, ignore=ignored)) == 1


def test_covered_classes_of_labels_and_of_scores() -> None:
    labels = torch.tensor([0, 0, 0, 2, 2, 5, 0, 0, 0, 0])
    assert float(covered_classes(labels)) == 3
    assert float(covered_classes(labels, share=0.2)) == 2
    assert float(covered_classes(scores(labels, 10), share=0.11)) == 2


def test_class_balance_by_hand() -> None:
    assert float(class_balance(torch.arange(8) % 4, classes=4)) == pytest.approx(0, abs=1e-7)
    assert float(class_balance(torch.zeros(9), classes=4)) == pytest.approx(math.log(4))
    assert float(class_balance(scores(torch.tensor([0, 0, 0, 1]), 2))) == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    )


def test_class_divergence_by_hand() -> None:
    found, reference = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 1])
    expected = 0.75 * math.log(0.75 / 0.25) + 0.25 * math.log(0.25 / 0.5)
    assert float(class_divergence(found, reference)) == pytest.approx(expected)
    assert float(class_divergence(scores(found, 2), scores(reference))) == pytest.approx(expected)


def test_cluster_accuracy_by_hand() -> None:
    """Clusters 0 and 1 hold labels (7, 7, 3) and (7, 3): 0 is best named 7 and 1 is 3, although 0 also leads for 3."""
    labels = torch.tensor([7, 7, 3, 7, 3])
    assert float(cluster_accuracy(scores(torch.tensor([0, 0, 0, 1, 1])), labels)) == pytest.approx(3 / 5)


def test_cluster_accuracy_ignores_names_and_counts_what_is_left_over_as_wrong() -> None:
    labels = torch.arange(12) % 4
    renamed = torch.tensor([2, 0, 3, 1])[labels]
    assert float(cluster_accuracy(scores(renamed, 4), labels)) == 1
    assert float(cluster_accuracy(scores(renamed // 2, 2), labels)) == pytest.approx(2 / 4)
    assert float(cluster_accuracy(scores(torch.arange(12), 12), labels)) == pytest.approx(4 / 12)


def test_cluster_accuracy_is_the_best_over_all_names() -> None:
    guessed, labels = (uniform(60, seed=seed).add(1).mul(2).long() for seed in (3, 4))
    names = (torch.tensor(order)[guessed] for order in permutations(range(4)))
    best = max(float(accuracy(scores(named, 4), labels)) for named in names)
    assert float(cluster_accuracy(scores(guessed, 4), labels)) == pytest.approx(best)


def test_linear_svm_finds_a_line_whatever_the_scale() -> None:
    labels = (torch.arange(200) % 2).long()
    features = gaussian(200, 3) * 0.1 + torch.stack((labels, labels, 0 * labels), 1)
    features *= torch.tensor([1e4, 1e-4, 1.0])
    assert float(linear_svm_accuracy(features[:100], labels[:100], features[100:], labels[100:])) == 1
    flipped = torch.where(torch.arange(100) < 25, 1 - labels[100:], labels[100:])
    assert float(linear_svm_accuracy(features[:100], labels[:100], features[100:], flipped)) == 0.75


def test_linear_svm_says_nothing_where_its_solver_stops_before_the_optimum() -> None:
    """Of features that are nearly linearly dependent; a warning would be an error here."""
    features = gaussian(100, 40) @ gaussian(40, 200, seed=1) + 1e-4 * gaussian(100, 200, seed=2)
    labels = torch.arange(100) % 5
    assert float(linear_svm_accuracy(features, labels, features, labels, c=1e8)) > 0.9


def test_linear_svm_does_not_solve_exclusive_or() -> None:
    points = uniform(400, 2)
    labels = (points.prod(1) > 0).float()
    assert float(linear_svm_accuracy(points[:200], labels[:200], points[200:], labels[200:])) < 0.7


def test_nearest_neighbour_by_hand() -> None:
    train, labels = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 3.0]]), torch.tensor([4, 7, 9])
    test = torch.tensor([[4.0, 0.0], [6.0, 0.0], [0.0, 2.0], [9.0, 1.0]])
    assert float(nearest_neighbour_accuracy(train, labels, test, torch.tensor([4, 7, 9, 7]))) == 1
    assert float(nearest_neighbour_accuracy(train, labels, test, torch.tensor([4, 7, 4, 9]))) == 0.5
    assert float(nearest_neighbour_accuracy(train[:1], labels[:1], test, torch.tensor([4, 7, 4, 9]))) == 0.5


def test_nearest_neighbour_is_the_first_of_the_smallest_distances() -> None:
    train, test = gaussian(300, 5), gaussian(200, 5, seed=1)
    labels, truth = (train[:, 0] > 0).long(), (test[:, 0] > 0).long()
    nearest = (test[:, None].double() - train.double()).norm(dim=2).argmin(1)
    expected = float((labels[nearest] == truth).float().mean())
    assert float(nearest_neighbour_accuracy(train, labels, test, truth)) == pytest.approx(expected)
    twice = torch.cat((train, train))
    flipped = torch.cat((labels, 1 - labels))
    assert float(nearest_neighbour_accuracy(twice, flipped, test, truth)) == pytest.approx(expected)


def test_correlation_by_hand() -> None:
    x = torch.tensor([1.0, 2, 3, 4])
    assert float(correlation(x, -3 * x + 1)) == pytest.approx(-1)
    assert float(correlation(x[:, None], torch.tensor([1.0, 3, 2, 4])[:, None])) == pytest.approx(0.8)


def test_mutual_information_gap_of_a_perfect_and_of_a_useless_code() -> None:
    factors = torch.stack((torch.arange(4000) % 5, torch.arange(4000) // 5 % 4), 1)
    perfect = torch.cat((factors + 0.0, gaussian(4000, 1)), 1)
    assert float(mutual_information_gap(perfect, factors)) == pytest.approx(1, abs=0.03)
    assert float(mutual_information_gap(gaussian(4000, 3), factors)) == pytest.approx(0, abs=0.03)
    assert float(mutual_information_gap(torch.cat((perfect, perfect), 1), factors)) == pytest.approx(0, abs=1e-6)


def test_mutual_information_gap_by_hand() -> None:
    """The first code halves each of four equally likely values: it knows log 2 of log 4; the second knows nothing."""
    factor = torch.arange(4).repeat(2)[:, None]
    codes = torch.cat((factor // 2, torch.arange(8)[:, None] // 4), 1).float()
    assert float(mutual_information_gap(codes, factor)) == pytest.approx(0.5)


def test_continuous_factors_are_put_in_bins() -> None:
    factor = uniform(3000, 1)
    codes = torch.cat((factor, gaussian(3000, 1, seed=1)), 1)
    assert float(mutual_information_gap(codes, factor)) == pytest.approx(1, abs=0.05)


def test_factor_vae_score_of_axes_that_are_apart_and_of_mixed_ones() -> None:
    fixed = torch.arange(300) % 3
    codes = gaussian(300, 20, 3)
    codes[torch.arange(300), :, fixed] = gaussian(300, 1, seed=1)
    assert float(factor_vae_score(codes, fixed)) == 1
    assert float(factor_vae_score(100 * codes[..., [2, 0, 1, 1]], fixed)) == 1
    assert float(factor_vae_score(gaussian(300, 20, 3), fixed)) < 0.5


def test_factor_vae_score_by_hand() -> None:
    """Code 0 varies least in three groups, two of which share factor 1; code 1 in one group, which shares factor 0."""
    still, moving = torch.tensor([0.0, 0.0]), torch.tensor([-1.0, 1.0])
    groups = [(still, moving), (still, moving), (still, moving), (moving, still)]
    codes = torch.stack([torch.stack(group, 1) for group in groups])
    assert float(factor_vae_score(codes, torch.tensor([1, 1, 0, 0]))) == 0.75
    never = torch.cat((codes, torch.ones(4, 2, 1)), 2)
    assert float(factor_vae_score(never, torch.tensor([1, 1, 0, 0]))) == 0.75


def test_active_units_are_those_that_tell_something() -> None:
    """KL by number: 0; 1/2 m^2 with m of 0.2 and 0.4, so 0.02 and 0.08; and that of a narrow Gaussian."""
    mean = torch.tensor([[0.0, 0.2, 0.4, 0.0], [0.0, -0.2, -0.4, 0.0]])
    logvar = torch.tensor([0.0, 0.0, 0.0, -2.0]).expand(2, 4)
    assert float(active_units(mean, logvar)) == 0.5
    assert float(active_units(mean, logvar, 0.01)) == 0.75
    assert float(active_units(mean, logvar, 1.0)) == 0
    assert 0.5 * (math.exp(-2) + 2 - 1) > 0.5 == float(active_units(mean, logvar, 0.5)) + 0.25
