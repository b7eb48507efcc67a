"""What a step does, one sentence a test, on GANs of two small MLPs."""

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

import gangraph
from gangraph import Trainer, UsageError
from gangraph.folder import checkpoint
from gangraph.run.finite import NotFiniteError
from gangraph.run.history import History
from gangraph.run.settings import choose_device
from gangraph.session.run import run as start
from tests.support import TINY, changed, deviation, load, normals, read, same, small, snapshot, trainer

X, Z, X2, Z2 = normals(4, 4, 2)
JUDGE, FOOL = "{update: d, minimize: judge}", "{update: g, minimize: fool}"
SHARED = pytest.mark.parametrize("share", [True, False], ids=["shared", "plain"])


def judge(d: nn.Module, x: Tensor, fake: Tensor) -> Tensor:
    """The logistic critic's loss by hand."""
    loss: Tensor = softplus(-d(x)).mean() + softplus(d(fake)).mean()
    return loss


def steps_taken(run: Trainer, group: str) -> Callable[[], int]:
    """How often a group's optimizer has stepped from now on."""
    taken = [0]

    def count(*_: object) -> None:
        taken[0] += 1

    run.engine.optimizers[group].register_step_post_hook(count)
    return lambda: taken[0]


def drawn(run: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Tensor]]:
    """What is drawn from now on, by name."""
    draws: list[tuple[str, Tensor]] = []
    draw = run.engine.draws.draw

    def record(name: str, step: int) -> dict[str, Tensor]:
        fields = draw(name, step)
        draws.extend((name, tensor) for tensor in fields.values())
        return fields

    monkeypatch.setattr(run.engine.draws, "draw", record)
    return draws


# ---------------------------------------------------------------------------
# Updates


def test_step_of_gradient_descent_is_the_one_by_hand() -> None:
    run = trainer(small(JUDGE))
    g, d = (copy.deepcopy(run.networks[name]) for name in "GD")
    loss = judge(d, X, g(Z).detach())
    gradients = torch.autograd.grad(loss, list(d.parameters()))
    losses = run.step({"x": X, "z": Z})
    assert losses["judge"] == pytest.approx(loss.item(), rel=1e-12)
    for new, old, gradient in zip(run.networks["D"].parameters(), d.parameters(), gradients, strict=True):
        assert torch.allclose(new, old - 0.1 * gradient, rtol=1e-12, atol=1e-14)
    assert same(run.networks["G"].state_dict(), g.state_dict())


def test_maximising_a_loss_is_minimising_its_negative() -> None:
    up, down = trainer(small("{update: d, maximize: -1 * judge}")), trainer(small(JUDGE))
    for run in (up, down):
        run.step({"x": X, "z": Z})
    for first, second in zip(up.networks["D"].parameters(), down.networks["D"].parameters(), strict=True):
        assert torch.allclose(first, second, rtol=1e-12, atol=1e-14)


def test_simultaneous_update_takes_both_gradients_at_the_same_parameters() -> None:
    run = trainer(small("{update: {d: {minimize: judge}, g: {minimize: fool}}}"))
    g, d = (copy.deepcopy(run.networks[name]) for name in "GD")
    fake = g(Z)
    expected = {
        "D": (d, torch.autograd.grad(judge(d, X, fake), list(d.parameters()), retain_graph=True)),
        "G": (g, torch.autograd.grad(softplus(-d(fake)).mean(), list(g.parameters()))),
    }
    run.step({"x": X, "z": Z})
    for name, (old, gradients) in expected.items():
        for new, before, gradient in zip(run.networks[name].parameters(), old.parameters(), gradients, strict=True):
            assert torch.allclose(new, before - 0.1 * gradient, rtol=1e-12, atol=1e-14)


@SHARED
def test_second_update_sees_the_parameters_that_the_first_one_left(share: bool) -> None:
    run = trainer(small(JUDGE, FOOL), share=share)
    g = copy.deepcopy(run.networks["G"])
    losses = run.step({"x": X, "z": Z})
    assert losses["fool"] == pytest.approx(softplus(-run.networks["D"](g(Z))).mean().item(), rel=1e-12)


@SHARED
def test_held_value_stays_as_it_was_before_its_network_was_updated(share: bool) -> None:
    held, current = (
        trainer(small(FOOL, JUDGE, judge=f"logistic.critic(real=D(x), fake=D({fake}))"), share=share)
        for fake in ("at_first(fake)", "fake")
    )
    before = copy.deepcopy(current.networks["G"])
    d = copy.deepcopy(current.networks["D"])
    found = [run.step({"x": X, "z": Z})["judge"] for run in (held, current)]
    assert found[0] == pytest.approx(judge(d, X, before(Z)).item(), rel=1e-12)
    assert found[1] == pytest.approx(judge(d, X, current.networks["G"](Z)).item(), rel=1e-12)
    assert found[0] != pytest.approx(found[1], rel=1e-6)


def test_two_micro_batches_are_one_batch_of_both() -> None:
    entry = "{update: d, minimize: judge%s}"
    twice, once = trainer(small(entry % ", accumulate: 2")), trainer(small(entry % ""))
    for _ in range(3):
        twice.step({"x": [X, X2], "z": [Z, Z2]})  # type: ignore[dict-item]
        once.step({"x": torch.cat([X, X2]), "z": torch.cat([Z, Z2])})
    for first, second in zip(twice.networks["D"].parameters(), once.networks["D"].parameters(), strict=True):
        assert deviation(first.detach(), second.detach()) < 1e-13


def test_accumulating_update_draws_every_micro_batch_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(small(JUDGE, "{update: g, minimize: fool, accumulate: 3}"))
    draws = drawn(run, monkeypatch)
    run.step()
    assert [name for name, _ in draws] == ["x", "z", "z", "z", "z"]
    assert len({tuple(tensor.flatten().tolist()) for _, tensor in draws}) == 5


def test_gradient_longer_than_the_norm_is_scaled_down_to_it() -> None:
    free, clipped = (trainer(small(f"{{update: d, minimize: judge{clip}}}")) for clip in ("", ", clip_grad_norm: 0.01"))
    moves = []
    for run in (free, clipped):
        before = nn.utils.parameters_to_vector(run.networks["D"].parameters()).detach().clone()
        run.step({"x": X, "z": Z})
        moves.append((before - nn.utils.parameters_to_vector(run.networks["D"].parameters()).detach()) / 0.1)
    assert moves[0].norm() > 0.01
    assert moves[1].norm().item() == pytest.approx(0.01, rel=1e-3)
    assert torch.allclose(moves[1] / moves[1].norm(), moves[0] / moves[0].norm(), atol=1e-12)


def test_gradient_is_clipped_number_by_number() -> None:
    run = trainer(small("{update: d, minimize: judge, clip_grad_value: 1e-3}"))
    before = snapshot(run.networks)
    run.step({"x": X, "z": Z})
    moved = [(before[name] - after).abs().max().item() for name, after in snapshot(run.networks).items()]
    assert max(moved) == pytest.approx(1e-4, rel=1e-9)


def test_weights_are_clipped_after_every_repetition() -> None:
    run = trainer(small('{update: d, minimize: judge, times: 2, draw: all, then: "clip(D, -0.05, 0.05)"}'))
    run.step()
    assert max(p.abs().max().item() for p in run.networks["D"].parameters()) == pytest.approx(0.05)
    assert max(p.abs().max().item() for p in run.networks["G"].parameters()) > 0.05


# ---------------------------------------------------------------------------
# When updates run, and on which draws


def test_number_of_repetitions_may_depend_on_the_step() -> None:
    run = trainer(small("{update: d, minimize: judge, times: 3 if step == 0 else 1, draw: all}", FOOL))
    taken = steps_taken(run, "d")
    counts = []
    for _ in range(3):
        run.step()
        counts.append(taken())
    assert counts == [3, 4, 5]


def test_every_runs_an_update_at_multiples_of_its_number() -> None:
    run = trainer(small("{update: d, minimize: judge, every: 2}", FOOL))
    assert ["judge" in run.step() for _ in range(5)] == [True, False, True, False, True]


def test_when_runs_an_update_where_its_condition_holds() -> None:
    run = trainer(small("{update: d, minimize: judge, when: step >= 2}", FOOL))
    before = snapshot(run.networks)
    found = [("judge" in run.step(), "D" in changed(before, snapshot(run.networks))) for _ in range(4)]
    assert found == [(False, False), (False, False), (True, True), (True, True)]


@SHARED
def test_update_that_was_skipped_leaves_its_values_to_be_computed_by_the_next(share: bool) -> None:
    run = trainer(small("{update: d, minimize: judge, when: step > 5}", FOOL), share=share)
    g, d = (copy.deepcopy(run.networks[name]) for name in "GD")
    assert run.step({"x": X, "z": Z})["fool"] == pytest.approx(softplus(-d(g(Z))).mean().item(), rel=1e-12)


@pytest.mark.parametrize(("draw", "expected"), [("z", ["z"]), ("[z]", ["z"]), ("x", []), ("all", ["z"])])
def test_draw_draws_those_sources_anew_that_it_names_and_the_update_needs(
    draw: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(small(JUDGE, f"{{update: g, minimize: fool, draw: {draw}}}"))
    draws = drawn(run, monkeypatch)
    run.step()
    assert [name for name, _ in draws] == ["x", "z", *expected]
    if expected:
        assert not torch.equal(draws[1][1], draws[2][1])


@SHARED
def test_value_on_a_draw_of_its_own_is_not_the_one_of_the_update_before(share: bool) -> None:
    run = trainer(small(JUDGE, "{update: g, minimize: fool, draw: z}"), share=share)
    g = copy.deepcopy(run.networks["G"])
    losses = run.step({"x": X, "z": [Z, Z2]})  # type: ignore[dict-item]
    assert losses["fool"] == pytest.approx(softplus(-run.networks["D"](g(Z2))).mean().item(), rel=1e-12)


@SHARED
def test_two_updates_of_one_group_each_have_their_own_objective(share: bool) -> None:
    run = trainer(small(JUDGE, "{update: d, minimize: fool}"), share=share)
    first = copy.deepcopy(run.networks["D"])
    losses = run.step({"x": X, "z": Z})
    fake = run.networks["G"](Z)
    assert losses["judge"] == pytest.approx(judge(first, X, fake).item(), rel=1e-12)
    with torch.no_grad():
        gradients = torch.func.grad(lambda p: judge_with(first, p, fake))(dict(first.named_parameters()))
        middle = {name: p - 0.1 * gradients[name] for name, p in first.named_parameters()}
    assert losses["fool"] == pytest.approx(softplus(-functional_call(first, middle, fake)).mean().item(), rel=1e-12)


def judge_with(d: nn.Module, parameters: dict[str, Tensor], fake: Tensor) -> Tensor:
    """The critic's loss with other parameters."""
    loss: Tensor = (
        softplus(-functional_call(d, parameters, X)).mean() + softplus(functional_call(d, parameters, fake)).mean()
    )
    return loss


@SHARED
def test_gradient_flows_through_a_value_that_a_penalty_is_taken_at(share: bool) -> None:
    run = trainer(
        small(
            JUDGE,
            FOOL,
            judge="logistic.critic(real=D(x), fake=D(fake))",
            fool="logistic.generator(D(fake)) + mean(norm(grad(D(fake), fake)))",
        ),
        share=share,
    )
    g = copy.deepcopy(run.networks["G"])
    run.step({"x": X, "z": Z})
    fake = g(Z)
    score = run.networks["D"](fake)
    (slope,) = torch.autograd.grad(score.sum(), fake, create_graph=True)
    loss = softplus(-score).mean() + slope.norm(dim=1).mean()
    gradients = torch.autograd.grad(loss, list(g.parameters()))
    for new, old, gradient in zip(run.networks["G"].parameters(), g.parameters(), gradients, strict=True):
        assert torch.allclose(new, old - 0.1 * gradient, rtol=1e-9, atol=1e-12)


@SHARED
def test_repeated_update_computes_what_it_changes_again(share: bool) -> None:
    run = trainer(small(JUDGE, "{update: g, minimize: fool, times: 2}"), share=share)
    g = copy.deepcopy(run.networks["G"])
    run.step({"x": X, "z": Z})
    for _ in range(2):
        gradients = torch.autograd.grad(softplus(-run.networks["D"](g(Z))).mean(), list(g.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(g.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=0.1)
    for new, expected in zip(run.networks["G"].parameters(), g.parameters(), strict=True):
        assert torch.allclose(new, expected, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------
# Networks: averages, frozen twins, phases


def test_average_follows_its_network_by_its_decay() -> None:
    run = trainer(small(FOOL, JUDGE, more_networks="  slow: average(G, decay=0 if step == 0 else 0.9)"))
    run.step()
    assert same(run.networks["slow"].state_dict(), run.networks["G"].state_dict())
    before = [p.clone() for p in run.networks["slow"].parameters()]
    run.step()
    for average, old, new in zip(
        run.networks["slow"].parameters(), before, run.networks["G"].parameters(), strict=True
    ):
        assert torch.allclose(average, 0.9 * old + 0.1 * new, rtol=1e-12, atol=1e-15)
        assert not average.requires_grad


def test_average_of_a_network_that_was_not_updated_stays() -> None:
    run = trainer(small("{update: g, minimize: fool, every: 2}", JUDGE, more_networks="  slow: average(G, decay=0.5)"))
    run.step()
    before = snapshot(run.networks)
    run.step()
    assert changed(before, snapshot(run.networks)) == {"D"}


@pytest.mark.parametrize("buffers", ["copy", "average"])
def test_running_statistics_are_copied_or_averaged_as_asked(buffers: str) -> None:
    run = trainer(
        small(
            JUDGE,
            FOOL,
            networks_g="{inputs: z, layers: 'linear(3), batch_norm, relu, linear(2)'}",
            more_networks=f'  slow: average(G, decay=0.9, buffers="{buffers}")',
        )
    )
    (before,) = (b.clone() for name, b in run.networks["slow"].named_buffers() if name.endswith("running_mean"))
    run.step()
    mean, slow = (
        next(b for name, b in run.networks[network].named_buffers() if name.endswith("running_mean"))
        for network in ("G", "slow")
    )
    expected = mean if buffers == "copy" else 0.9 * before + 0.1 * mean
    assert torch.allclose(slow, expected, rtol=1e-12, atol=1e-15)
    assert not torch.equal(mean, before)


def test_frozen_twin_shares_storage_and_never_requires_a_gradient(tmp_path: Path) -> None:
    run = trainer(small(networks_d="{inputs: x, layers: 'linear(3), batch_norm, relu, linear(1)'}"))
    run.step()
    for each in (run, Trainer.resume(run.save(tmp_path / "saved"), device="cpu")):
        each.step()
        live, twin = each.networks["D"], each.engine.networks.callable["D_frozen"]
        for mine, shared in zip(live.parameters(), twin.parameters(), strict=True):
            assert mine.data_ptr() == shared.data_ptr()
            assert mine.requires_grad and not shared.requires_grad and shared.grad is None
        assert [*map(id, live.buffers())] == [*map(id, twin.buffers())]


PHASES = """
gangraph: 1
name: growing
params: {width: 4}
data: {x: plane(std=0.3), z: normal(2)}
networks:
  G: mlp(widths=[6], outputs=2)
  D: mlp(widths=[width])
  slow: average(G, decay=0.9)
values: {fake: G(z)}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  optimizers:
    g: adam(G, lr=1e-2)
    d: adam(D, lr=1e-2)
  step:
    - {update: d, minimize: judge}
    - {update: g, minimize: fool}
  phases:
    - {length: 3 steps}
    - {length: 2 steps, set: {width: 8}, batch: 6}
"""


def test_next_phase_keeps_the_weights_of_every_name_and_shape_that_it_has() -> None:
    run = trainer(read(PHASES))
    run.train(steps=3)
    before = snapshot(run.networks)
    fresh = run.next_phase()
    after = snapshot(run.networks)
    assert all(name.startswith("D.") for name in fresh) and fresh
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) or name in fresh
    assert not torch.equal(after["slow.layers.linear.weight"], after["G.layers.linear.weight"])


def test_training_to_the_end_goes_through_all_phases() -> None:
    run = trainer(read(PHASES))
    run.train()
    assert (run.phase, run.step_count, run.done, run.seen) == (1, 5, True, 3 * 4 + 2 * 6)


# ---------------------------------------------------------------------------
# Histories


def test_history_passes_samples_on_until_it_is_full_and_then_exchanges_some() -> None:
    history = History("past", 6, seed=0)
    batches = [torch.arange(4.0) + 4 * k for k in range(30)]
    passed = [history.push(batch) for batch in batches]
    assert torch.equal(passed[0], batches[0])
    assert passed[1][:2].tolist() == [4, 5]
    old = sum(int((out != batch).sum()) for out, batch in zip(passed[2:], batches[2:], strict=True))
    assert 0.3 < old / (28 * 4) < 0.7
    handed = torch.cat(passed).tolist()
    assert history.samples is not None and len(history.samples) == history.count == 6
    assert len(set(handed)) == len(handed) - 6  # only what filled the history is passed on and handed out later
    assert set(handed) | set(history.samples.tolist()) == set(torch.cat(batches).tolist())


def test_history_without_room_is_the_present() -> None:
    values = torch.ones(3, 2, requires_grad=True)
    out = History("past", 0, seed=0).push(values)
    assert torch.equal(out, values) and not out.requires_grad


def test_history_is_pushed_once_a_step_even_where_values_are_not_shared() -> None:
    spec = small(JUDGE, FOOL, judge="logistic.critic(real=D(x), fake=D(history(fake, 6)))")
    runs = [trainer(spec, share=share) for share in (True, False)]
    losses = [[run.step()["judge"] for _ in range(5)] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert [history.calls for run in runs for history in run.engine.histories.values()] == [5, 5]


# ---------------------------------------------------------------------------
# Numbers that are not finite


def test_nan_is_reported_by_the_value_where_it_began_and_changes_nothing() -> None:
    run = trainer(small(more_values="  odd: log(x)", judge="logistic.critic(real=D(odd), fake=D(fake))"))
    run.step({"x": X.abs() + 1, "z": Z})
    before = snapshot(run.networks)
    with pytest.raises(NotFiniteError) as caught:
        run.step({"x": -X.abs() - 1, "z": Z})
    assert (caught.value.value, caught.value.update, caught.value.step) == ("odd", "d", 1)
    assert "'odd'" in str(caught.value) and "step 1" in str(caught.value)
    assert same(before, snapshot(run.networks))


def test_nan_in_a_parameter_is_reported_by_the_name_of_the_parameter() -> None:
    run = trainer(small())
    with torch.no_grad():
        run.networks["G"].get_parameter("layers.linear_2.weight")[0, 0] = float("nan")
    with pytest.raises(NotFiniteError) as caught:
        run.step({"x": X, "z": Z})
    assert caught.value.value == "G.layers.linear_2.weight"


def test_nan_in_the_data_is_reported_by_the_name_of_the_source() -> None:
    run = trainer(small())
    with pytest.raises(NotFiniteError) as caught:
        run.step({"x": X * float("inf"), "z": Z})
    assert caught.value.value == "x"


def test_overflow_is_reported_by_the_value_that_overflowed() -> None:
    judge = "logistic.critic(real=D(x), fake=D(fake)) + huge"
    run = trainer(small(more_values="  huge: exp(1000 * mean(abs(x)))", judge=judge))
    with pytest.raises(NotFiniteError) as caught:
        run.step({"x": X * 10, "z": Z})
    assert caught.value.value == "huge"


# ---------------------------------------------------------------------------
# Evaluation


def test_values_may_be_numbers_and_are_computed_before_a_run() -> None:
    spec = small(
        more_values="  size[k in 1..3]: 2 ** k + size[k-1] if k > 1 else 2\n  less: -size[3] / 7",
        judge="size[3] * logistic.critic(real=D(x), fake=D(fake)) + less",
        networks_d="{inputs: x, parts: {h: linear(4), o: linear(1)}, values: {a: 2, b: a + 3}, output: o(h(x) * b)}",
    )
    run, plain = (
        trainer(spec),
        trainer(small(networks_d="{inputs: x, parts: {h: linear(4), o: linear(1)}, output: o(h(x) * 5)}")),
    )
    assert run.step()["judge"] == pytest.approx(14 * plain.step()["judge"] - 2, rel=1e-12)


def test_noise_that_is_no_regularisation_is_drawn_in_evaluation_too_and_the_same_at_every_look() -> None:
    spec = small(
        networks_g="{inputs: z, layers: 'linear(6), noise, bias, leaky_relu(0.2), dropout(0.5), linear(2)'}",
        evaluate="evaluate:\n  samples: 3\n  grid: [fake]",
    )
    run = trainer(spec)
    looks = [run.evaluate()]
    with torch.no_grad():
        run.networks["G"].get_parameter("layers.noise.weight").fill_(1)
    state = torch.get_rng_state()
    looks += [run.evaluate(), run.evaluate()]
    assert torch.equal(torch.get_rng_state(), state)
    without, first, second = (look.grid["fake"] for look in looks if look is not None)
    assert torch.equal(first, second)
    assert not torch.allclose(without, first)


def test_evaluation_leaves_parameters_statistics_modes_and_training_as_they_are() -> None:
    layers = "'linear(6), batch_norm, relu, dropout(0.5), linear(%s)'"
    spec = small(
        networks_g=f"{{inputs: z, layers: {layers % 2}}}",
        networks_d="{inputs: x, layers: 'spectral_norm(linear(6)), leaky_relu(0.2), dropout(0.3), linear(1)'}",
        more_networks="  slow: average(G, decay=0.9)",
        more_values="  slope: norm(grad(D(fake), fake))",
        judge="logistic.critic(real=D(x), fake=D(history(at_first(fake), 6)))",
        evaluate="evaluate:\n  samples: 3\n  mode: train\n  grid: [x, fake, slow(z)]\n"
        "  metrics: {steepness: mean(slope), judged: judge}",
    )
    watched, alone = trainer(spec), trainer(spec)
    for _ in range(3):
        assert watched.step() == alone.step()
        before = snapshot(watched.networks)
        modes = [m.training for net in watched.networks.values() for m in net.modules()]
        kept = [p.grad for net in watched.networks.values() for p in net.parameters()]
        look = watched.evaluate()
        assert look is not None
        assert {len(column) for column in look.grid.values()} == {3}
        assert look.metrics.keys() == {"steepness", "judged"}
        assert same(before, snapshot(watched.networks))
        assert modes == [m.training for net in watched.networks.values() for m in net.modules()]
        assert kept == [p.grad for net in watched.networks.values() for p in net.parameters()]
        assert same(before, snapshot(alone.networks))


@pytest.mark.parametrize("name", TINY)
def test_every_shipped_spec_can_be_evaluated_and_looks_the_same_twice(name: str) -> None:
    """Of two samples, or of as many as the spec has where a trained tensor is one for each of them."""
    run = trainer(load(name))
    run.step()
    count = None if run.checked[0].per_sample else 2
    first, second = run.evaluate(count), run.evaluate(count)
    assert first is not None and second is not None
    assert first.metrics == second.metrics
    assert first.grid
    assert same(first.grid, second.grid)


# ---------------------------------------------------------------------------
# Plans, seeds, draws and checkpoints


def test_merged_calls_give_the_same_losses_as_calls_one_by_one() -> None:
    spec = small(
        more_values="  other: G(-1 * z)",
        judge="logistic.critic(real=D(x), fake=D(fake)) + logistic.critic(real=D(-1 * x), fake=D(other))",
        networks_d="{inputs: x, layers: 'linear(6), dropout(0.5), linear(1)'}",
    )
    merged, single = trainer(spec), trainer(spec, merge=False)
    assert any(segment.merges for update in merged.engine.program.plan.updates for segment in update.segments)
    for _ in range(4):
        found, expected = merged.step(), single.step()
        assert found == pytest.approx(expected, rel=1e-12)


def test_value_is_the_same_in_both_updates_of_a_step_even_with_dropout() -> None:
    spec = small(networks_g="{inputs: z, layers: 'linear(6), dropout(0.5), linear(2)'}")
    shared, plain = trainer(spec), trainer(spec, share=False)
    for _ in range(4):
        assert shared.step() == pytest.approx(plain.step(), rel=1e-12)


def test_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    spec = load("pix2pix")
    first, again, other = (trainer(spec, seed=seed) for seed in (0, 0, 1))
    losses = [run.train(steps=2) for run in (first, again, other)]
    assert losses[0] == losses[1]
    assert all(losses[0][name] != losses[2][name] for name in losses[0])
    assert same(snapshot(first.networks), snapshot(again.networks))


def test_spectral_norm_starts_the_same_for_the_same_seed() -> None:
    spec = small(
        networks_d="{inputs: x, layers: 'spectral_norm(linear(64)), leaky_relu(0.2), spectral_norm(linear(1))'}"
    )
    runs = []
    for _ in range(3):
        runs.append(snapshot(trainer(spec).networks))
        torch.randn(1000)
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])
    assert all(tensor.isfinite().all() for tensor in runs[0].values())
    for name, tensor in runs[0].items():
        if name.endswith(("_u", "_v")):
            assert tensor.norm().item() == pytest.approx(1, rel=1e-5)


def test_global_random_state_neither_matters_nor_changes() -> None:
    spec = load("gan")
    torch.manual_seed(1)
    first = trainer(spec).train(steps=2)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert trainer(spec).train(steps=2) == first
    assert torch.equal(state, torch.get_rng_state())


def test_draws_for_a_source_that_is_not_there_are_refused() -> None:
    run = trainer(small())
    with pytest.raises(UsageError, match=r"no source 'y'.*x, z"):
        run.step({"y": X})


def test_draws_with_the_wrong_fields_are_refused() -> None:
    run = trainer(load("pix2pix"))
    with pytest.raises(UsageError, match="segmap, image"):
        run.step({"pair": {"segmap": torch.zeros(2, 3, 16, 16)}})


@pytest.mark.parametrize("broken", ["save_file", "rename"])
def test_checkpoint_that_cannot_be_written_leaves_the_one_before(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(small())
    run.step()
    folder = run.save(tmp_path / "last")
    before = checkpoint.read_checkpoint(folder)
    run.step()

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        if broken == "save_file":
            patch.setattr(checkpoint, "save_file", fail)
        else:
            patch.setattr(Path, "rename", fail)
        with pytest.raises(gangraph.RunError, match=r"checkpoint '.*last' cannot be written: no space"):
            run.save(folder)
    kept = checkpoint.read_checkpoint(folder)
    assert same(dict(before.tensors), dict(kept.tensors)) and before.state == kept.state
    run.save(folder)
    assert checkpoint.read_checkpoint(folder).state.step == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_spec_without_length_trains_for_a_number_of_steps() -> None:
    run = trainer(small(length=""))
    run.train(steps=3)
    assert run.step_count == 3
    with pytest.raises(gangraph.UsageError, match="states no length"):
        run.train()


def test_checkpoint_is_not_written_over_parameters_that_are_not_finite(tmp_path: Path) -> None:
    # The loss is 0 and finite; the gradient of the root at 0 is not.
    spec = small(fool="mean(sqrt(abs(fake - fake)))", length="  length: 9 steps\n  save: 1 steps")
    with pytest.raises(gangraph.RunError, match=r"parameter 'G\..*' is not finite .* no checkpoint yet"):
        start(spec, out=tmp_path / "run", device="cpu")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_list_of_options_may_hold_numbers_over_time() -> None:
    engine = trainer(small(JUDGE, optimizer_d="adam(D, lr=0.1, betas=[0, linear(0.9, 0.99, end=4 steps)])"))
    twin = copy.deepcopy(engine.networks["D"])
    by_hand = torch.optim.Adam(twin.parameters(), lr=0.1)
    for step, second in enumerate((0.9, 0.9225, 0.945, 0.9675, 0.99, 0.99)):
        x, z = normals(2, 4, 2, seed=step)
        by_hand.param_groups[0]["betas"] = (0.0, second)
        by_hand.zero_grad()
        judge(twin, x, engine.networks["G"](z).detach()).backward()
        by_hand.step()
        engine.step({"x": x, "z": z})
    for mine, theirs in zip(engine.networks["D"].parameters(), twin.parameters(), strict=True):
        assert deviation(mine.detach(), theirs.detach()) < 1e-9


# Devices


@pytest.mark.parametrize(
    ("name", "built", "count", "said"),
    [
        ("cuda", None, 0, "no CUDA device: this PyTorch is built for the CPU alone; take device cpu, or auto"),
        ("cuda", "12.8", 0, "no CUDA device: no GPU and driver are found; take device cpu, or auto"),
        ("cuda:1", "12.8", 1, "there is no device 'cuda:1': cuda:0 to 0"),
        ("cuda:x", "12.8", 2, "there is no device 'cuda:x': cuda:0 to 1"),
        ("cpu:a", None, 0, "there is no device 'cpu:a'"),
        ("mps", None, 0, "there is no device 'mps': auto, cpu or cuda"),
    ],
)
def test_a_device_that_is_not_there_is_one_message(
    name: str, built: str | None, count: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UsageError, match=f"^{re.escape(said)}"):
        choose_device(name)
