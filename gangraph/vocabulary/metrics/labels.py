"""Metrics of predicted classes: against true labels, and of how many classes appear how often."""

import warnings

import torch
from torch import Tensor

from gangraph.registry import metric
from gangraph.vocabulary.metrics import checks
from gangraph.vocabulary.pretrained import slices

_CHUNK = 256  # test samples that are compared with all training samples at a time


def _accuracy_checks(scores: Tensor, labels: Tensor, ignore: int | None = None) -> None:
    found, expected = checks.shape("scores", scores), checks.shape("labels", labels)
    if len(found) < 2 or (found[0], *found[2:]) != expected:
        raise ValueError(f"scores are {list(found)} and labels {list(expected)}, expected [N, K, ...] and [N, ...]")
    if found[1] < 2:
        raise ValueError(f"scores are {list(found)}, of {found[1]} class, expected at least 2")
    checks.samples(1, scores=scores)


def _confusion(scores: Tensor, labels: Tensor, ignore: int | None) -> Tensor:
    """How often class i was taken for j: [K, K] in float64. Raises ValueError where no label counts."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    _accuracy_checks(scores, labels, ignore)
    checks.finite(scores=scores)
    counted = labels if ignore is None else labels[labels != ignore]
    if not counted.numel():
        raise ValueError(f"every label is {ignore}, which is ignored: expected some that count")
    classes = scores.shape[1]
    checks.integers(classes, labels=counted)
    return multiclass_confusion_matrix(
        scores, labels.long(), classes, ignore_index=ignore, validate_args=False
    ).double()


@metric(expects=_accuracy_checks)
def accuracy(scores: Tensor, labels: Tensor, ignore: int | None = None) -> Tensor:
    """The share of labels [N, ...] whose class has the highest of the scores [N, K, ...]; higher is better, 0 to 1.

    Over all positions together: the pixel accuracy of segmentations (Long et al. 2015). Label `ignore` does not count.
    """
    confusion = _confusion(scores, labels, ignore)
    return (confusion.trace() / confusion.sum()).float()


@metric(expects=_accuracy_checks)
def class_accuracy(scores: Tensor, labels: Tensor, ignore: int | None = None) -> Tensor:
    """accuracy of each class by itself, mean over the classes that are among the labels; higher is better, 0 to 1.

    The mean accuracy of Long et al. 2015, section 5.
    """
    confusion = _confusion(scores, labels, ignore)
    true = confusion.sum(1)
    return (confusion.diagonal() / true)[true > 0].mean().float()


def _cluster_checks(scores: Tensor, labels: Tensor) -> None:
    checks.dimensions("N, K", scores=scores)
    checks.dimensions("N", labels=labels)
    checks.same_count(scores=scores, labels=labels)
    checks.samples(1, scores=scores)


@metric(expects=_cluster_checks, protocol=lambda: {"matching": "one to one, the best over all samples"})
def cluster_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """accuracy after the clusters are named by the labels in the best one-to-one way; higher is better, 0 to 1.

    A sample's cluster is the highest of its scores [N, K]; labels are [N], of any number of classes. Samples of a
    cluster without a label count as wrong. The unsupervised accuracy of Xie et al. 2016, section 4.2; two independent
    partitions into K equal parts have a little over 1 / K.
    """
    from scipy.optimize import linear_sum_assignment

    _cluster_checks(scores, labels)
    checks.finite(scores=scores)
    (true,) = checks.integers(labels=labels)
    table = torch.zeros(scores.shape[1], int(true.max()) + 1)
    table.index_put_((scores.argmax(1), true), torch.ones(len(true)), accumulate=True)
    clusters, classes = linear_sum_assignment(table.numpy(), maximize=True)
    return table[clusters, classes].sum() / len(true)


@metric(expects=_accuracy_checks)
def class_iou(scores: Tensor, labels: Tensor, ignore: int | None = None) -> Tensor:
    """Intersection over union of predicted and true positions, mean over classes; higher is better, 0 to 1.

    The mean IU of Long et al. 2015, section 5. Classes that are neither predicted nor true do not count.
    """
    confusion = _confusion(scores, labels, ignore)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return (confusion.diagonal() / union)[union > 0].mean().float()


def _classes_checks(scores: Tensor, share: float = 0.0) -> None:
    _labels_or_scores(scores=scores)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected 0 to 1")


@metric(expects=_classes_checks)
def covered_classes(scores: Tensor, share: float = 0.0) -> Tensor:
    """How many classes appear, in at least this share of samples; higher is better, 0 to K.

    Takes a classifier's scores [N, K], or labels [N]. The number of modes of Metz et al. 2017, section 3.3.
    """
    _classes_checks(scores, share)
    counts = _counts(scores=scores)
    return ((counts > 0) & (counts >= share * counts.sum())).sum().float()


def _balance_checks(scores: Tensor, classes: int | None = None) -> None:
    _labels_or_scores(scores=scores)
    if scores.dim() == 1 and classes is None:
        raise ValueError("scores are labels [N], expected also the number of classes: classes=K")
    if scores.dim() == 2 and classes not in (None, scores.shape[1]):
        raise ValueError(
            f"classes is {classes} and scores are {list(scores.shape)}, expected {scores.shape[1]} or none"
        )


@metric(expects=_balance_checks)
def class_balance(scores: Tensor, classes: int | None = None) -> Tensor:
    """KL(p || uniform) in nats with p the shares of predicted classes; lower is better, 0 to log(K).

    Takes a classifier's scores [N, K], or labels [N] and the number of classes K.
    """
    _balance_checks(scores, classes)
    counts = _counts(classes, scores=scores)
    return _divergence(counts, torch.ones_like(counts))


def _divergence_checks(scores: Tensor, reference: Tensor) -> None:
    _labels_or_scores(scores=scores, reference=reference)


@metric(expects=_divergence_checks)
def class_divergence(scores: Tensor, reference: Tensor) -> Tensor:
    """KL(p || q) in nats of the shares of classes in two sets; lower is better, 0 or more.

    Each set is a classifier's scores [N, K], or labels [N] (Metz et al. 2017, section 3.3).

    Raises:
        ValueError: a class that appears is not in the reference, so the divergence is infinite.
    """
    _divergence_checks(scores, reference)
    found, expected = _counts(scores=scores), _counts(reference=reference)
    size = max(len(found), len(expected))
    found, expected = (torch.nn.functional.pad(counts, (0, size - len(counts))) for counts in (found, expected))
    new = ((found > 0) & (expected == 0)).nonzero().flatten().tolist()
    if new:
        raise ValueError(f"class {new[0]} appears but is not in the reference, expected every class to be there")
    return _divergence(found, expected)


def _labels_or_scores(**given: Tensor) -> None:
    for name, x in given.items():
        if len(checks.shape(name, x)) not in (1, 2):
            raise ValueError(f"{name} is {list(x.shape)}, expected scores [N, K] or labels [N]")
    checks.samples(1, **given)


def _counts(classes: int | None = None, **given: Tensor) -> Tensor:
    """How often each class appears, in float64. Raises ValueError."""
    ((name, x),) = given.items()
    checks.finite(**given)
    if x.dim() == 2:
        return x.argmax(1).bincount(minlength=x.shape[1]).double()
    (labels,) = checks.integers(classes, **{name: x})
    return labels.bincount(minlength=classes or 0).double()


def _divergence(found: Tensor, expected: Tensor) -> Tensor:
    p, q = found / found.sum(), expected / expected.sum()
    return torch.where(p > 0, p * (p / q).log(), 0).sum().float()


def _labelled_checks(train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor) -> None:
    checks.same_size(train_features=train_features, test_features=test_features)
    checks.dimensions("N", train_labels=train_labels, test_labels=test_labels)
    checks.same_count(train_features=train_features, train_labels=train_labels)
    checks.same_count(test_features=test_features, test_labels=test_labels)
    checks.samples(1, train_features=train_features, test_features=test_features)


def _svm_checks(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, c: float = 1.0
) -> None:
    _labelled_checks(train_features, train_labels, test_features, test_labels)
    checks.samples(2, train_features=train_features)
    checks.positive(c=c)


_TRAINING_AND_TEST = (("train_features", "train_labels"), ("test_features", "test_labels"))


@metric(
    expects=_svm_checks,
    protocol=lambda *, c: {"svm": "L2, one against the rest", "c": c, "scale": "standardised"},
    sets=_TRAINING_AND_TEST,
)
def linear_svm_accuracy(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, c: float = 1.0
) -> Tensor:
    """The share of test samples that a linear L2-SVM on training features classifies right; higher is better, 0 to 1.

    Radford et al. 2015, section 5.1. Features [N, D] are standardised by the training set's means and deviations,
    labels are [N]; the solver is deterministic, and stops after 1000 iterations.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    _svm_checks(train_features, train_labels, test_features, test_labels, c)
    checks.finite(train_features=train_features, test_features=test_features)
    train, test = checks.integers(train_labels=train_labels, test_labels=test_labels)
    if (train == train[0]).all():
        raise ValueError(f"train_labels are all {int(train[0])}, expected at least 2 classes")
    classifier = make_pipeline(StandardScaler(), LinearSVC(C=c, dual=False))
    with warnings.catch_warnings():
        # Where the solver stops is part of the metric. For a large c, or features that are nearly linearly dependent,
        # it may stop before the optimum, and a user of the metric could not change that.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(train_features.numpy(), train.numpy())
    return torch.tensor(classifier.score(test_features.numpy(), test.numpy()), dtype=torch.float32)


@metric(
    expects=_labelled_checks,
    protocol=lambda: {"neighbour": "Euclidean, of features as they are"},
    sets=_TRAINING_AND_TEST,
)
def nearest_neighbour_accuracy(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor
) -> Tensor:
    """The share of test samples with the label of their nearest training sample; higher is better, 0 to 1.

    Features are [N, D] and [M, D], compared by Euclidean distance; labels are [N] and [M] (Donahue et al. 2017,
    section 4.1). Of training samples that are equally near, the first counts.
    """
    _labelled_checks(train_features, train_labels, test_features, test_labels)
    checks.finite(train_features=train_features, test_features=test_features)
    known, expected = checks.integers(train_labels=train_labels, test_labels=test_labels)
    train, exact = train_features.double(), "donot_use_mm_for_euclid_dist"
    nearest = [
        torch.cdist(part, train, compute_mode=exact).argmin(1) for part in slices(test_features.double(), _CHUNK)
    ]
    return (known[torch.cat(nearest)] == expected).float().mean()
