"""What every metric refuses: before a run on tensors without storage, and values when it is computed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gangraph.registry import vocabulary
from gangraph.vocabulary import metrics
from tests.metrics.shared import gaussian, uniform

Example = dict[str, Any]


def images(n: int = 4, size: int = 32, channels: int = 3) -> Tensor:
    return uniform(n, channels, size, size)


def vectors(n: int = 6, size: int = 3) -> Tensor:
    return gaussian(n, size)


def labels(*values: int) -> Tensor:
    return torch.tensor(values)


PAIR: Example = {"x": images(), "y": images()}
SETS: Example = {"x": vectors(), "y": vectors()}
SEGMENTED: Example = {"scores": gaussian(2, 3, 4, 4), "labels": torch.zeros(2, 4, 4, dtype=torch.long)}
# One call of each metric that is right.
RIGHT: dict[str, Example] = {
    "accuracy": SEGMENTED,
    "class_accuracy": SEGMENTED,
    "class_balance": {"scores": vectors()},
    "class_divergence": {"scores": vectors(), "reference": vectors()},
    "class_iou": SEGMENTED,
    "active_units": {"mean": vectors(), "logvar": vectors()},
    "cluster_accuracy": {"scores": vectors(), "labels": labels(0, 1, 2, 0, 1, 2)},
    "correlation": {"x": gaussian(5), "y": gaussian(5)},
    "covered_classes": {"scores": labels(0, 1)},
    "covered_modes": {"samples": vectors(), "centres": vectors(2), "radius": 0.3},
    "factor_vae_score": {"codes": gaussian(4, 3, 2), "fixed": labels(0, 1, 0, 1)},
    "fid": PAIR,
    "frechet_distance": SETS,
    "high_quality_share": {"samples": vectors(), "centres": vectors(2), "std": 0.3},
    "inception_score": {"scores": vectors(12)},
    "kernel_distance": {**SETS, "subset_size": 4},
    "kid": {**PAIR, "subset_size": 4},
    "linear_decoding": {
        "train_features": vectors(),
        "train_targets": vectors()[:, 0],
        "test_features": vectors(4),
        "test_targets": vectors(4)[:, 0],
    },
    "linear_svm_accuracy": {
        "train_features": vectors(4),
        "train_labels": labels(0, 1, 0, 1),
        "test_features": vectors(2),
        "test_labels": labels(0, 1),
    },
    "lpips": PAIR,
    "mean_absolute_error": PAIR,
    "mutual_information_gap": {"codes": vectors(), "factors": labels(0, 1, 0, 1, 0, 1)[:, None]},
    "nearest_neighbour_accuracy": {
        "train_features": vectors(4),
        "train_labels": labels(0, 1, 0, 1),
        "test_features": vectors(2),
        "test_labels": labels(0, 1),
    },
    "pca_error": {"train": vectors(), "test": vectors(4), "components": 2},
    "parzen": {"samples": vectors(), "test": vectors(), "validation": vectors()},
    "precision": {"real": vectors(), "fake": vectors()},
    "psnr": PAIR,
    "recall": {"real": vectors(), "fake": vectors()},
    "sharpness": {"x": images()},
    "sharpness_difference": PAIR,
    "sliced_wasserstein": PAIR,
    "ssim": PAIR,
}
# metric, what is changed of its right call, and the message.
SHAPES: list[tuple[str, Example, str]] = [
    ("psnr", {"y": images(size=16)}, "x is [4, 3, 32, 32] and y [4, 3, 16, 16], expected one shape"),
    ("psnr", {"y": 0.5}, "y is the number 0.5, expected a value with one entry for each sample"),
    (
        "psnr",
        {"x": images(channels=1), "y": images(channels=1), "luminance": True},
        "x has 1 channel, expected 3; cat(",
    ),
    ("psnr", {"border": 16}, "x is 32 x 32 px, expected at least 1 and a border of 16"),
    ("psnr", {"span": 0}, "span is 0, expected a positive number"),
    ("psnr", {"x": gaussian(4), "y": gaussian(4)}, "x is [4], expected images [N, C, H, W] or clips [N, C, T, H, W]"),
    ("psnr", {"x": vectors(), "y": vectors(), "border": 1}, "expected images [N, C, H, W] or clips [N, C, T, H, W]"),
    ("mean_absolute_error", {"y": images(2)}, "expected one shape"),
    ("ssim", {"x": images(size=8), "y": images(size=8)}, "x is 8 x 8 px, expected at least 11"),
    ("ssim", {"luminance": True, "x": images(channels=2), "y": images(channels=2)}, "x has 2 channels, expected 3"),
    ("lpips", {"net": "squeezed"}, "net is 'squeezed', expected one of alex, vgg, squeeze; did you mean 'squeeze'?"),
    ("lpips", {"x": images(size=30), "y": images(size=30)}, "x is 30 x 30 px, expected at least 31"),
    ("lpips", {"x": images(channels=1), "y": images(channels=1)}, "x has 1 channel, expected 3"),
    ("sharpness", {"x": images(size=1)}, "x is 1 x 1 px, expected at least 2"),
    ("sharpness_difference", {"y": images(2)}, "expected one shape"),
    ("psnr", {"mask": torch.ones(4, 1, 32, 32)}, "mask is [4, 1, 32, 32], expected [4, 32, 32]"),
    ("ssim", {"mask": torch.ones(2, 32, 32)}, "mask is [2, 32, 32], expected [4, 32, 32]"),
    ("sharpness_difference", {"mask": torch.ones(4)}, "mask is [4], expected [4, 32, 32]"),
    ("fid", {"y": images(1)}, "y has 1 sample, expected at least 2"),
    ("fid", {"x": images(channels=1)}, "x has 1 channel, expected 3; cat(x, x, x) gives them"),
    ("fid", {"x": vectors()}, "x is [6, 3], expected [N, 3, H, W]"),
    ("kid", {"subset_size": 1000}, "subset_size is 1000, expected at most the 4 samples that there are"),
    ("kid", {"subset_size": 1}, "subset_size is 1, expected at least 2"),
    ("pca_error", {"test": vectors(4, size=2)}, "train is [6, 3] and test [4, 2], expected samples of one shape"),
    ("pca_error", {"components": 4}, "components is 4, expected 1 to 3: as many as samples or numbers of train"),
    ("frechet_distance", {"x": vectors(1)}, "x has 1 sample, expected at least 2"),
    ("frechet_distance", {"x": vectors(size=2)}, "x has 2 and y has 3 numbers a sample, expected as many"),
    ("frechet_distance", {"x": images()}, "x is [4, 3, 32, 32], expected [N, D]"),
    ("kernel_distance", {"subset_size": 7}, "subset_size is 7, expected at most the 6 samples"),
    ("kernel_distance", {"subsets": 0}, "subsets is 0, expected a positive number"),
    ("inception_score", {"scores": vectors(9)}, "scores has 9 samples, expected at least 10"),
    ("precision", {"fake": vectors(3)}, "fake has 3 samples, expected at least 4"),
    ("precision", {"features": "resnet"}, "features is 'resnet', expected one of inception, vgg16"),
    ("recall", {"k": 6}, "real has 6 samples, expected at least 7"),
    ("sliced_wasserstein", {"y": images(2)}, "expected one shape"),
    ("parzen", {"test": vectors(size=2)}, "test [6, 2] and validation [6, 3]: expected [N, ...] of one shape"),
    ("parzen", {"sigmas": ()}, "sigmas is empty, expected at least one width"),
    ("parzen", {"sigmas": (1.0, -1.0)}, "sigmas is -1.0, expected a positive number"),
    ("covered_modes", {"centres": vectors(2, 2)}, "samples has 3 and centres has 2 numbers a sample"),
    ("covered_modes", {"share": -0.5}, "share is -0.5, expected 0 to 1"),
    ("high_quality_share", {"std": -1}, "std is -1, expected a positive number"),
    ("accuracy", {"labels": torch.zeros(2, 4)}, "scores are [2, 3, 4, 4] and labels [2, 4], expected [N, K, ...]"),
    ("class_accuracy", {"labels": torch.zeros(2)}, "expected [N, K, ...] and [N, ...]"),
    ("class_iou", {"scores": gaussian(2, 1, 4, 4)}, "of 1 class, expected at least 2"),
    ("covered_classes", {"scores": images()}, "scores is [4, 3, 32, 32], expected scores [N, K] or labels [N]"),
    ("covered_classes", {"share": 2.0}, "share is 2.0, expected 0 to 1"),
    ("class_balance", {"scores": labels(0, 1)}, "scores are labels [N], expected also the number of classes"),
    ("class_balance", {"classes": 4}, "classes is 4 and scores are [6, 3], expected 3 or none"),
    ("class_divergence", {"reference": images()}, "reference is [4, 3, 32, 32], expected scores [N, K] or labels [N]"),
    ("linear_decoding", {"test_features": vectors(4, 4)}, "train_features has 3 and test_features has 4 numbers"),
    (
        "linear_decoding",
        {"train_targets": vectors()[:, 0, None, None]},
        "train_targets are [6, 1, 1], expected numbers",
    ),
    (
        "linear_decoding",
        {"test_targets": vectors(4)},
        "train_targets are [6] and test_targets [4, 3], expected equally",
    ),
    ("linear_decoding", {"train_targets": vectors(4)[:, 0]}, "expected the same number of samples"),
    ("linear_svm_accuracy", {"test_features": vectors(2, 4)}, "train_features has 3 and test_features has 4 numbers"),
    ("linear_svm_accuracy", {"train_labels": labels(0)}, "expected the same number of samples"),
    ("linear_svm_accuracy", {"c": 0.0}, "c is 0.0, expected a positive number"),
    ("nearest_neighbour_accuracy", {"test_features": vectors(2, 4)}, "train_features has 3 and test_features has 4"),
    ("nearest_neighbour_accuracy", {"test_labels": labels(0)}, "test_labels [1]: expected the same number of samples"),
    ("nearest_neighbour_accuracy", {"train_labels": vectors(4)}, "train_labels is [4, 3], expected [N]"),
    ("active_units", {"mean": labels(0, 1)}, "mean is [2], expected [N, D]"),
    ("active_units", {"logvar": vectors(2)}, "mean is [6, 3] and logvar [2, 3], expected one shape"),
    ("cluster_accuracy", {"scores": labels(0, 1)}, "scores is [2], expected [N, K]"),
    ("cluster_accuracy", {"labels": labels(0)}, "scores [6, 3] and labels [1]: expected the same number of samples"),
    ("correlation", {"x": vectors(), "y": vectors()}, "x is [6, 3], expected one number for each sample"),
    ("mutual_information_gap", {"codes": vectors(6, 1)}, "codes are [6, 1], expected at least 2 numbers"),
    ("mutual_information_gap", {"factors": vectors(2)}, "codes [6, 3] and factors [2, 3]: expected the same number"),
    ("mutual_information_gap", {"bins": 1}, "bins is 1, expected at least 2"),
    ("factor_vae_score", {"codes": gaussian(4, 1, 2)}, "expected at least 2 samples in each group"),
    ("factor_vae_score", {"codes": vectors()}, "codes is [6, 3], expected [G, M, D]"),
]
NAN = torch.full((6, 3), float("nan"))
VALUES: list[tuple[str, Example, str]] = [
    ("psnr", {"y": images() / 0}, "are NaN or infinite"),
    ("mean_absolute_error", {"x": images() * float("nan")}, "x has 12288 values of 12288 that are NaN or infinite"),
    ("ssim", {"x": images() * 2}, "expected [-1, 1]; clamp(x, -1, 1) cuts what a network overshoots"),
    ("lpips", {"y": (images() + 1) * 127.5}, "y has values in ["),
    ("sharpness", {"x": images() / 0}, "NaN or infinite"),
    ("sharpness_difference", {"x": images() / 0}, "NaN or infinite"),
    ("psnr", {"mask": torch.zeros(4, 32, 32)}, "the mask is 0 at every pixel that is measured"),
    ("ssim", {"mask": torch.zeros(4, 32, 32)}, "the mask is 0 at every pixel that is measured"),
    ("fid", {"x": 2 * images()}, "expected [-1, 1]"),
    ("kid", {"y": 2 * images()}, "expected [-1, 1]"),
    ("frechet_distance", {"x": NAN}, "x has 18 values of 18 that are NaN or infinite"),
    ("kernel_distance", {"y": NAN}, "y has 18 values"),
    ("inception_score", {"scores": NAN.repeat(2, 1)}, "NaN or infinite"),
    ("precision", {"fake": NAN}, "fake has 18 values"),
    ("recall", {"real": NAN}, "real has 18 values"),
    ("sliced_wasserstein", {"x": images() / 0}, "NaN or infinite"),
    ("parzen", {"test": NAN}, "test has 18 values"),
    ("parzen", {"samples": images(), "test": images(), "validation": images()}, "expected [0, 1]"),
    ("covered_modes", {"samples": NAN}, "samples has 18 values"),
    ("high_quality_share", {"samples": NAN}, "samples has 18 values"),
    ("accuracy", {"labels": torch.full((2, 4, 4), 3)}, "labels has labels from 3 to 3, expected 0 to 2"),
    ("class_accuracy", {"labels": torch.full((2, 4, 4), -1)}, "from -1 to -1, expected 0 to 2"),
    ("class_iou", {"ignore": 0}, "every label is 0, which is ignored: expected some that count"),
    ("covered_classes", {"scores": torch.tensor([0.5])}, "scores has values that are not whole numbers"),
    ("class_balance", {"scores": labels(0, 4), "classes": 3}, "scores has labels from 0 to 4, expected 0 to 2"),
    ("class_divergence", {"scores": labels(0, 7)}, "class 7 appears but is not in the reference"),
    (
        "linear_svm_accuracy",
        {"train_labels": labels(1, 1, 1, 1)},
        "train_labels are all 1, expected at least 2 classes",
    ),
    ("nearest_neighbour_accuracy", {"train_features": NAN[:4]}, "train_features has 12 values of 12 that are NaN"),
    (
        "nearest_neighbour_accuracy",
        {"test_labels": torch.tensor([0, 0.5])},
        "test_labels has values that are not whole",
    ),
    ("linear_decoding", {"train_features": NAN}, "train_features has 18 values of 18 that are NaN or infinite"),
    ("linear_decoding", {"test_targets": torch.ones(4)}, "a factor of test_targets is the same in all samples"),
    ("pca_error", {"test": NAN}, "test has 18 values of 18 that are NaN or infinite"),
    ("active_units", {"logvar": NAN}, "logvar has 18 values of 18 that are NaN or infinite"),
    ("cluster_accuracy", {"scores": NAN}, "scores has 18 values of 18 that are NaN or infinite"),
    ("cluster_accuracy", {"labels": labels(0, 1, 2, 0, 1, -1)}, "labels has labels from -1 to 2, expected 0 or more"),
    ("correlation", {"y": torch.ones(5)}, "y is the same in all samples, expected one that varies"),
    ("mutual_information_gap", {"factors": torch.ones(6, 1)}, "factor 0 is the same in all samples"),
    ("factor_vae_score", {"codes": torch.ones(4, 3, 2)}, "no code varies, expected at least one that does"),
]


def function(name: str) -> Callable[..., Tensor]:
    return vocabulary[name].function


def expects(name: str) -> Callable[..., object]:
    check = vocabulary[name].traits.expects
    assert check is not None
    return check


def without_storage(example: Example) -> Example:
    return {key: value.to("meta") if isinstance(value, Tensor) else value for key, value in example.items()}


def case(name: str, change: Example, message: str) -> Any:
    return pytest.param(name, {**RIGHT[name], **change}, re.escape(message), id=f"{name}-{message[:40]}")


def test_every_metric_is_tested_here() -> None:
    own = {
        name for name, d in vocabulary.of_kind("metric").items() if d.function.__module__.startswith(metrics.__name__)
    }
    assert own == set(RIGHT)
    assert own == {name for name, _, _ in SHAPES} | {"sharpness"}
    assert own == {name for name, _, _ in VALUES}


@pytest.mark.parametrize("name", RIGHT)
def test_checks_accept_a_right_call_on_tensors_without_storage(name: str) -> None:
    assert expects(name)(**without_storage(RIGHT[name])) is None
    given = without_storage(RIGHT[name])
    constants = {key: value for key, value in given.items() if not isinstance(value, Tensor)}
    assert expects(name)(*(value for value in given.values() if isinstance(value, Tensor)), **constants) is None


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in ("fid", "kid", "lpips")])
def test_a_metric_is_one_finite_number(name: str) -> None:
    found = function(name)(**RIGHT[name])
    assert found.shape == ()
    assert found.dtype == torch.float32
    assert found.isfinite()


@pytest.mark.parametrize(("name", "example", "message"), [case(*row) for row in SHAPES])
def test_what_cannot_be_measured_is_refused_before_and_in_the_run(name: str, example: Example, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expects(name)(**without_storage(example))
    with pytest.raises(ValueError, match=message):
        function(name)(**example)


@pytest.mark.parametrize(("name", "example", "message"), [case(*row) for row in VALUES])
def test_values_out_of_range_are_refused(name: str, example: Example, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(name)(**example)


@pytest.mark.parametrize("name", [n for n, d in vocabulary.of_kind("metric").items() if d.traits.protocol])
def test_protocols_are_plain_facts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.images.pretrained, "weights_facts", lambda network: {"weights": network})
    definition = vocabulary[name]
    constants = {
        key: RIGHT[name].get(key, p.default)
        for key, p in definition.signature.parameters.items()
        if p.annotation is not Tensor
    }
    protocol = definition.traits.protocol
    assert protocol is not None
    found = protocol(**constants)
    assert found
    assert all(isinstance(value, str | int | float | list) for value in found.values())
