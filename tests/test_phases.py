"""Phases: what each lays over the document, and what it takes over from the one before it."""

import pytest
import torch

from gangraph import Trainer
from gangraph.errors import SpecError
from gangraph.language.expression.model import unparse
from gangraph.language.fingerprint import fingerprint
from gangraph.pipeline import check_spec
from gangraph.views.diff import differences
from gangraph.views.spec import spec_text
from tests.support import normals, read, same, snapshot, trainer

TEXT = """
gangraph: 1
name: growing
params: {{width: 4}}
data: {{x: plane(std=0.3), z: normal(2)}}
networks:
  G: mlp(widths=[6], outputs=2)
  D: mlp(widths=[width])
values: {{fake: G(z)}}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  optimizers:
    g: adam(G, lr=1e-2)
    d: adam(D, lr=1e-2)
  step:
    - {{update: d, minimize: judge}}
    - {{update: g, minimize: fool}}
  phases:
    - {{length: 3 steps}}
    - {{length: 3 steps, {second}}}
evaluate:
  samples: 5
  metrics: {{spread: mean(fake ** 2)}}
"""


def phases(second: str) -> Trainer:
    """A trainer of two phases; `second` is what the second one says beside its length."""
    return trainer(read(TEXT.format(second=second)))


def state_of(run: Trainer) -> dict[str, set[int]]:
    """How many steps the parameters of each group have taken, as Adam counts them; 0 is for no state."""
    return {
        name: {
            int(optimizer.state[each]["step"]) if optimizer.state[each] else 0 for each in run.engine.parameters[name]
        }
        for name, optimizer in run.engine.optimizers.items()
    }


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("set: {}", {"g": {0}, "d": {0}}),
        ("carry: optimizers", {"g": {3}, "d": {3}}),
        ("carry: optimizers, set: {width: 8}", {"g": {3}, "d": {0, 3}}),
        ('carry: optimizers, optimizers: {d: "adamw(D)"}', {"g": {3}, "d": {0}}),
        ('carry: optimizers, optimizers: {d: "adam(D, lr=1, betas=[0, 0.9])"}', {"g": {3}, "d": {3}}),
        ('carry: optimizers, networks: {D: "mlp(widths=[4, 4])"}', {"g": {3}, "d": {0, 3}}),
    ],
    ids=["anew", "all", "by shape", "another kind", "other options", "by name"],
)
def test_a_phase_takes_over_the_state_of_optimizers_where_it_says_so(
    second: str, expected: dict[str, set[int]]
) -> None:
    run = phases(second)
    run.train(steps=3)
    run.next_phase()
    assert state_of(run) == expected


def test_two_phases_with_carried_optimizers_are_one_long_one() -> None:
    whole, cut = (
        trainer(read(TEXT.format(second="set: {}").replace("3 steps", "6 steps", 1))),
        phases("carry: optimizers"),
    )
    for step, (x, z) in enumerate(zip(normals(6, 4, 2), normals(6, 4, 2, seed=1), strict=True)):
        if step == 3:
            cut.next_phase()
        assert whole.step({"x": x, "z": z}) == cut.step({"x": x, "z": z})
    assert same(snapshot(whole.networks), snapshot(cut.networks))


def test_parts_that_networks_share_keep_their_state_once() -> None:
    text = TEXT.format(second="carry: optimizers, set: {width: 8}")
    halves = "{inputs: z, parts: {a: 'linear(3), tanh', b: linear(2)}, values: {h: a(z)}, output: b(h)}"
    text = text.replace("G: mlp(widths=[6], outputs=2)", f"G: {halves}\n  H: G(share=G.a)")
    text = text.replace("fake: G(z)", "fake: G(z) + H(z)").replace("adam(G,", "adam([H, G],")
    run = trainer(read(text))
    run.train(steps=4)
    assert len(run.engine.parameters["g"]) == 6
    assert state_of(run) == {"g": {4}, "d": {1, 4}}


def test_a_phase_lays_any_section_over_the_document() -> None:
    second = (
        'name: second, data: {x: "plane(std=0.5)", w: normal(3)}, networks: {G: "mlp(widths=[5], outputs=2)"}, '
        'values: {fake: "G(w)"}, evaluate: {samples: 7, metrics: {size: mean(abs(fake))}}'
    )
    first, laid = read(TEXT.format(second=second)).phases
    assert (unparse(first.data["x"]), unparse(laid.data["x"])) == ("plane(std=0.3)", "plane(std=0.5)")
    assert first.evaluate is not None and laid.evaluate is not None
    assert (first.evaluate.samples, laid.evaluate.samples) == (5, 7)
    assert (list(first.evaluate.metrics), list(laid.evaluate.metrics)) == (["spread"], ["spread", "size"])
    run = phases(second)
    run.train(steps=4)
    look = run.evaluate()
    assert look is not None and look.metrics.keys() == {"spread", "size"}
    assert next(iter(run.networks["G"].parameters())).shape == torch.Size([5, 3])


def test_a_phase_lays_single_keys_over_networks_and_states() -> None:
    """As profiles and variants do; what the document lacks is still missed."""
    below = TEXT.replace("  G: mlp(widths=[6], outputs=2)", "  G: {{inputs: z, layers: 'linear(6), linear(2)'}}")
    below = below.replace("train:\n", "state:\n  s: {{start: 0, next: 'lerp(s, mean(fake), 0.1)'}}\ntrain:\n")
    networks, states = "networks: {G: {layers: 'linear(6), tanh, linear(2)'}}", "state: {s: {every: 2}}"
    whole = "networks: {G: {inputs: z, layers: 'linear(6), tanh, linear(2)'}}"
    whole += ", state: {s: {start: 0, next: 'lerp(s, mean(fake), 0.1)', every: 2}}"
    parts = read(below.format(second=f"{networks}, {states}"))
    assert fingerprint(parts) == fingerprint(read(below.format(second=whole)))
    assert len(trainer(parts).train()) == 3
    with pytest.raises(SpecError, match="'inputs:' is missing"):
        read(below.format(second="networks: {H: {layers: tanh}}"))


def test_a_phase_may_be_the_first_that_is_looked_at() -> None:
    text, _, _ = TEXT.format(second="evaluate: {metrics: {size: mean(abs(fake))}}").partition("evaluate:\n")
    first, second = read(text).phases
    assert first.evaluate is None and second.evaluate is not None
    run = trainer(read(text))
    assert run.evaluate() is None
    run.train()
    look = run.evaluate()
    assert look is not None and list(look.metrics) == ["size"]


def test_what_is_carried_is_part_of_what_is_trained_and_of_the_resolved_text() -> None:
    anew, carried = (read(TEXT.format(second=each)) for each in ("set: {}", "carry: optimizers"))
    assert fingerprint(anew) != fingerprint(carried)
    assert "  carry: optimizers" in spec_text(carried) and "carry" not in spec_text(anew)


def test_a_phase_without_a_name_is_called_by_what_it_sets() -> None:
    spec = read(TEXT.format(second="set: {width: 2 ** 3}"))
    assert [phase.called for phase in spec.phases] == ["phase 1", "phase 2 (width=8)"]
    spec = read(TEXT.format(second="name: wide"))
    assert [phase.called for phase in spec.phases] == ["phase 1", "phase 2, 'wide'"]
    assert len(check_spec(spec)) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [("adam(G)", "adam(G, amsgrad=true)"), ("rmsprop(G)", "rmsprop(G, momentum=0.9)"),
     ("rmsprop(G)", "rmsprop(G, centered=true)")],
)  # fmt: skip
def test_an_optimizer_that_keeps_more_than_before_begins_anew(before: str, after: str) -> None:
    text = TEXT.replace("adam(G, lr=1e-2)", before).format(second=f"carry: optimizers, optimizers: {{g: '{after}'}}")
    run = trainer(read(text))
    run.train(steps=3)
    run.next_phase()
    assert state_of(run) == {"g": {0}, "d": {3}}
    run.train()
    assert state_of(run) == {"g": {3}, "d": {6}}


def test_an_average_that_a_phase_adds_begins_at_its_network() -> None:
    run = phases("networks: {A: 'average(G, decay=0.9)'}, evaluate: {metrics: {calm: mean(A(z))}}")
    run.train(steps=3)
    run.next_phase()
    assert same(snapshot({"G": run.networks["G"]}), snapshot({"G": run.networks["A"]}))


def test_a_phase_sets_only_params_that_there_are() -> None:
    (problem,) = read(TEXT.format(second="set: {widht: 8}")).problems
    assert (problem.code, problem.found, problem.fix) == ("GG201", "widht", "did you mean 'width'?")


def test_a_loop_over_an_empty_list_has_no_phases() -> None:
    loop = "    - for w in [k if k > 9 for k in 1..3]: {set: {width: w}, length: 3 steps}\n"
    text = TEXT.format(second="set: {}").replace("evaluate:", f"{loop}evaluate:")
    assert [phase.called for phase in read(text).phases] == ["phase 1", "phase 2"]
    start, _, _ = text.partition("    - {length")
    assert len(read(start + loop).phases) == 1  # as without `phases:`


def test_progress_goes_on_over_all_phases_by_what_they_draw() -> None:
    run = phases("batch: 12")  # 3 steps of 4 samples, then 3 steps of 12
    shares = [run.progress]
    run.train(every=lambda run, _: shares.append(round(run.progress, 4)))
    assert shares == [0.0, 0.0833, 0.1667, 0.25, 0.5, 0.75, 1.0]


def test_a_difference_names_its_phase_as_messages_do() -> None:
    first, second = (read(TEXT.format(second=each)) for each in ("set: {width: 8}", "set: {width: 8}, batch: 5"))
    (told,) = map(str, differences(first, second))
    assert told.startswith("phase 2 (width=8), ")
