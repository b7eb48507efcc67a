"""Fingerprints follow from the fields of a spec: a new one cannot be forgotten, and those of old specs never change."""

from dataclasses import field, fields, make_dataclass, replace
from typing import Any

import pytest

import gangraph
from gangraph.errors import Span, Text
from gangraph.language.expression import model as ast
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.spec import AverageSpec, PhaseSpec, Spec
from gangraph.language.spec_fields import ASIDE
from gangraph.language.update_spec import Objective, Unroll
from tests.support import small

# Checkpoints and trained evaluators are found by these.
KNOWN = {
    ("gan", "quick"): ("ab6bc1e51af84166", "bafcb9b1dffdd2c2"),
    ("wgan_gp", "paper"): ("624ed0d7dd764299", "a8129576eaceb8cd"),
    ("progan", "quick"): ("4a122ce6f69638f4", "3983574cd6834e15"),
    ("cogan", "paper"): ("3215194f4d62ec9d", "021e1bab3829ebd7"),
    ("unrolled", "quick"): ("eb0f44c3d5f61b08", "55f6df377c85c4d8"),
    ("infogan", "paper"): ("86c5bda6a2052cc7", "2d5b8ba65747cf3e"),
}


@pytest.mark.parametrize(("name", "profile"), KNOWN)
def test_fingerprints_of_shipped_specs_stay(name: str, profile: str) -> None:
    spec = gangraph.load(name, profile=profile)
    assert (fingerprint(spec), evaluation_fingerprint(spec.phases[-1])) == KNOWN[name, profile]


def rich() -> Spec:
    """A spec with one of everything that training depends on."""
    return small(
        "{update: d, minimize: judge, unroll: {update: g, minimize: fool, steps: 1}, clip_grad_norm: 1}",
        "{update: {g: {minimize: fool, when: step > 2}}}",
        more_networks="  A: average(G, decay=0.9)",
        evaluate="evaluate:\n  metrics: {far: mean(fake)}",
    )


def extended(record: Any, value: object, metadata: Any = None) -> Any:
    """The record with a field more, whose default is None."""
    kind = type(record)
    added = ("novelty", Any, field(default=None, metadata=metadata))
    wider = make_dataclass(f"Wider{kind.__name__}", [added], bases=(kind,), frozen=True, slots=True, kw_only=True)
    return wider(**{each.name: getattr(record, each.name) for each in fields(record)}, novelty=value)


def with_objective(spec: Spec, change: Any) -> Spec:
    (update, *more) = spec.phases[0].updates
    return with_phase(spec, updates=(replace(update, objectives=(change(update.objectives[0]),)), *more))


def with_phase(spec: Spec, **parts: Any) -> Spec:
    return replace(spec, phases=(replace(spec.phases[0], **parts),))


def in_phase(spec: Spec, value: object, metadata: Any) -> Spec:
    return replace(spec, phases=(extended(spec.phases[0], value, metadata),))


def in_update(spec: Spec, value: object, metadata: Any) -> Spec:
    (update, *more) = spec.phases[0].updates
    return with_phase(spec, updates=(extended(update, value, metadata), *more))


def in_objective(spec: Spec, value: object, metadata: Any) -> Spec:
    return with_objective(spec, lambda objective: extended(objective, value, metadata))


def in_unroll(spec: Spec, value: object, metadata: Any) -> Spec:
    def change(objective: Objective) -> Objective:
        assert isinstance(objective.unroll, Unroll)
        return replace(objective, unroll=extended(objective.unroll, value, metadata))

    return with_objective(spec, change)


def in_optimizer(spec: Spec, value: object, metadata: Any) -> Spec:
    groups = spec.phases[0].optimizers
    return with_phase(spec, optimizers={**groups, "g": extended(groups["g"], value, metadata)})


def in_network(spec: Spec, value: object, metadata: Any) -> Spec:
    networks = spec.phases[0].networks
    return with_phase(spec, networks={**networks, "G": extended(networks["G"], value, metadata)})


def in_average(spec: Spec, value: object, metadata: Any) -> Spec:
    networks = spec.phases[0].networks
    assert isinstance(networks["A"], AverageSpec)
    return with_phase(spec, networks={**networks, "A": extended(networks["A"], value, metadata)})


ADDED = [extended, in_phase, in_update, in_objective, in_unroll, in_optimizer, in_network, in_average]
NOWHERE = Span(Text("", ""), 0, 0)
NUMBER = ast.Literal(2, NOWHERE)
VALUES: list[object] = [1, "a", ast.Name("x", NOWHERE), {"a": NUMBER}, (NUMBER,)]


@pytest.mark.parametrize("add", ADDED)
def test_a_new_field_changes_the_fingerprint_as_soon_as_it_is_set_and_not_before(add: Any) -> None:
    spec = rich()
    assert fingerprint(add(spec, None, None)) == fingerprint(spec)
    assert len({fingerprint(add(spec, value, None)) for value in [None, *VALUES]}) == len(VALUES) + 1


@pytest.mark.parametrize("add", ADDED)
def test_a_field_that_is_marked_changes_none(add: Any) -> None:
    spec = rich()
    assert fingerprint(add(spec, 1, ASIDE)) == fingerprint(spec)


def test_a_new_field_of_an_evaluation_changes_its_fingerprint_alone() -> None:
    spec = rich()

    def evaluated(value: object, metadata: Any = None) -> PhaseSpec:
        return replace(spec.phases[0], evaluate=extended(spec.phases[0].evaluate, value, metadata))

    found = [evaluation_fingerprint(evaluated(value)) for value in (None, 1, 2)]
    assert found[0] == evaluation_fingerprint(spec.phases[0]) == evaluation_fingerprint(evaluated(1, ASIDE))
    assert len(set(found)) == 3
    assert fingerprint(replace(spec, phases=(evaluated(1),))) == fingerprint(spec)


def test_a_source_that_only_a_new_field_names_is_part_of_the_training() -> None:
    """What an update reaches follows from the expressions in its fields, whichever they are."""
    spec = rich()

    def named(width: int) -> Spec:
        data = {**spec.phases[0].data, "more": ast.Literal(width, NOWHERE)}
        return in_update(with_phase(spec, data=data), ast.Name("more", NOWHERE), None)

    assert fingerprint(named(2)) != fingerprint(named(3))
