"""Updates that compute their objectives at several points: L-BFGS, and steps ahead of an update's own groups."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer
from gangraph.errors import UsageError
from gangraph.language.continuation import changes
from gangraph.language.fingerprint import fingerprint
from gangraph.language.spec import Spec
from gangraph.pipeline import check_phase, compile_phase
from gangraph.run.finite import NotFiniteError
from gangraph.run.saving import tensors_of
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.vocabulary.lbfgs import LBFGS
from gangraph.vocabulary.optimistic import OptimisticAdam, step_of
from tests.support import deviation, normals, read, same, small, snapshot, trainer, worst

TOLERANCE = 1e-9
PLANS = [(True, True), (False, True), (True, False), (False, False)]
NAMES = ["as planned", "merged", "shared", "plain"]
STRONG = 'line_search_fn="strong_wolfe"'

# A picture on features of a network that stays as it is, and a network that follows the picture.
PICTURE = """
gangraph: 1
name: picture
data:
  content: "fixed(world(size=10))"
networks:
  V:
    inputs: x
    layers: spectral_norm(conv2d(4, 3, padding=1)), batch_norm, tanh, conv2d(4, 3, padding=1)
  H: {{inputs: x, layers: "conv2d(3, 1), tanh"}}
variables:
  picture: normal(3, 10, 10, std=0.5)
  tint: [[[0.1]], [[0.2]], [[-0.1]]]
values: {{want: V(content)}}
losses:
  look: "l2(V(picture + tint), want)"
  follow: "l2(H(picture), content) + l2(V(H(picture)), want)"
train:
  batch: 2
  length: 30 steps
  optimizers:
    painter: {painter}
    h: adam(H, lr=0.01)
  step:
    - {{update: painter, minimize: look}}
    - {{update: h, minimize: follow}}
"""


def picture(options: str = "lr=0.5, max_iter=4, history_size=5") -> Spec:
    return read(PICTURE.format(painter=f"'lbfgs([picture, tint], {options})'"))


def value(run: Trainer, name: str) -> Tensor:
    return run.networks[name].value.detach()  # type: ignore[union-attr]  # the parameter of a variable


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_paints_as_torch_does_by_hand(search: str | None, share: bool, merge: bool) -> None:
    more = f", {STRONG}" if search else ""
    run = trainer(picture(f"lr=0.5, max_iter=4, history_size=5{more}"), share=share, merge=merge)
    run.engine.begin(run.clock)
    features, head = (copy.deepcopy(run.networks[name]) for name in "VH")
    pictures, tint = (nn.Parameter(value(run, name).clone()) for name in ("picture", "tint"))
    painter = torch.optim.LBFGS([pictures, tint], lr=0.5, max_iter=4, history_size=5, line_search_fn=search)
    learner = torch.optim.Adam(head.parameters(), lr=0.01)
    (content,) = run.engine.draws.ahead().draw("content", 0).values()
    found: list[float] = []
    for _ in range(20):
        theirs = run.step()
        want = features(content).detach()
        before = [buffer.clone() for buffer in features.buffers()]
        after: list[Tensor] = []

        def evaluated(before: list[Tensor] = before, after: list[Tensor] = after, want: Tensor = want) -> Tensor:
            for buffer, kept in zip(features.buffers(), before, strict=True):
                buffer.copy_(kept)
            painter.zero_grad()
            loss = functional.mse_loss(features(pictures + tint), want)
            loss.backward()  # type: ignore[no-untyped-call]  # of torch
            after[:] = after or [buffer.clone() for buffer in features.buffers()]
            return loss

        found += [deviation(theirs["look"], painter.step(evaluated).detach())]  # type: ignore[arg-type]
        for buffer, kept in zip(features.buffers(), after, strict=True):
            buffer.copy_(kept)
        made = head(pictures.detach())
        follow = functional.mse_loss(made, content) + functional.mse_loss(features(made), want)
        learner.zero_grad()
        follow.backward()
        learner.step()
        found += [deviation(theirs["follow"], follow.detach())]
    found += [deviation(value(run, "picture"), pictures.detach()), deviation(value(run, "tint"), tint.detach())]
    for name, network in (("V", features), ("H", head)):
        pairs = zip(run.networks[name].state_dict().values(), network.state_dict().values(), strict=True)
        found += [deviation(mine, own) for mine, own in pairs]
    assert worst(found) <= TOLERANCE


@pytest.mark.parametrize("options", ["lr=0.5, max_iter=4, history_size=5", f"max_iter=3, {STRONG}"])
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_lbfgs_goes_on_with_the_same_bits(options: str, precision: str, tmp_path: Path) -> None:
    spec = picture(options)
    whole, half = (Trainer(spec, device="cpu", seed=3, precision=precision) for _ in range(2))
    whole.train(9)
    half.train(5)
    half.save(tmp_path / "saved")
    again = Trainer.resume(tmp_path / "saved", device="cpu")
    assert same(tensors_of(half.engine), tensors_of(again.engine))
    again.train(4)
    assert same(tensors_of(whole.engine), tensors_of(again.engine))


def test_what_lbfgs_keeps_is_torchs_own() -> None:
    """The same steps as torch's, for parameters of several shapes, over more steps than there are rows."""
    weights = [normals(1, *shape, seed=i)[0] for i, shape in enumerate([(2, 3), (), (4,)])]
    mine, theirs = ([nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    own = LBFGS(mine, lr=0.3, max_iter=3, history_size=4)
    torchs = torch.optim.LBFGS(theirs, lr=0.3, max_iter=3, history_size=4)
    for optimizer, parameters in ((own, mine), (torchs, theirs)):

        def loss(optimizer: torch.optim.Optimizer = optimizer, parameters: list[nn.Parameter] = parameters) -> Tensor:
            optimizer.zero_grad()
            total = sum(((p**4).sum() + torch.cos(p).sum() for p in parameters), torch.zeros(()))
            total.backward()  # type: ignore[no-untyped-call]  # of torch
            return total

        for _ in range(6):
            optimizer.step(loss)  # type: ignore[arg-type]
    assert all(torch.equal(p, q) for p, q in zip(mine, theirs, strict=True))
    assert {key: tuple(kept.shape) for key, kept in own.state[mine[0]].items() if kept.dim()} == {
        "d": (2, 3), "prev_flat_grad": (2, 3), "old_dirs": (4, 2, 3), "old_stps": (4, 2, 3), "ro": (4,),
    }  # fmt: skip
    assert int(own.state[mine[0]]["count"]) == 4


def test_a_closure_that_fails_leaves_parameters_and_state_as_they_were() -> None:
    steep = """
gangraph: 1
name: steep
variables: {x: 1.0}
losses: {high: exp(x ** 2)}
train:
  batch: 1
  optimizers: {x: "lbfgs(x, lr=0.01 if step < 2 else 1e20, max_iter=3)"}
  step: [{update: x, minimize: high}]
"""
    run = trainer(read(steep))
    run.step()
    run.step()
    before = tensors_of(run.engine)
    with pytest.raises(NotFiniteError, match="'x'"):
        run.step()
    assert same(before, tensors_of(run.engine))


WIDE = """
gangraph: 1
name: wide
data: {{x: "normal(4)"}}
networks: {{G: {{inputs: z, layers: "linear(4), batch_norm, linear(4)"}}}}
losses: {{near: "l2(G(x) * {times}, x)"}}
train:
  batch: 8
  optimizers: {{g: "{optimizer}"}}
  step: [{{update: g, minimize: near{ahead}}}]
"""


@pytest.mark.parametrize(
    ("optimizer", "times", "ahead"),
    [
        ("lbfgs(G, lr=1 if step < 2 else 9e29, max_iter=4)", "1", ""),  # a point that the optimizer tries
        ("lbfgs(G, max_iter=4)", "(1 if step < 2 else 9e29)", ""),  # the first evaluation
        ("sgd(G, lr=1 if step < 2 else 9e29)", "1", ", unroll: {steps: 2, gradient: false}"),
    ],
)
def test_a_step_that_ends_in_nan_leaves_running_statistics_as_they_were(optimizer: str, times: str, ahead: str) -> None:
    run = trainer(read(WIDE.format(optimizer=optimizer, times=times, ahead=ahead)), precision="fp32")
    run.step()
    run.step()
    before = snapshot(run.networks)
    with pytest.raises(NotFiniteError):
        run.step()
    assert same(before, snapshot(run.networks))


def test_lbfgs_in_mixed_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="lbfgs compares losses that bf16 does not tell apart"):
        Trainer(picture(), device="cpu", precision="bf16")


def test_another_history_is_no_way_to_go_on_and_another_rate_is() -> None:
    first = picture()
    for options, touches in (
        ("lr=0.5, max_iter=4, history_size=6", "trained"),
        ("lr=1, max_iter=4, history_size=5", "now"),
    ):
        (found,) = changes(first, picture(options), 0)
        assert found.touches == touches


# Optimistic Adam.


def test_optimistic_adam_is_the_algorithm_of_the_paper() -> None:
    (start,), gradients = normals(1, 5, seed=3), normals(25, 5, seed=4)
    parameter, by_function = nn.Parameter(start.clone()), start.clone()
    optimizer, slots = OptimisticAdam([parameter], lr=0.1, betas=(0.5, 0.9)), {}
    w, m, v, last = start.clone(), torch.zeros(5).double(), torch.zeros(5).double(), torch.zeros(5).double()
    options = optimizer.param_groups[0]
    for t, g in enumerate(gradients, 1):
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g**2
        direction = (m / (1 - 0.5**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
        w, last = w - 2 * 0.1 * direction + 0.1 * last, direction
        parameter.grad = g
        optimizer.step()
        by_function, slots = step_of(by_function, g, slots, options)  # type: ignore[assignment]
    assert deviation(parameter.detach(), w) <= 1e-12
    assert deviation(by_function, w) <= 1e-12


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
def test_a_gan_by_optimistic_adam_agrees_with_the_loop_by_hand(share: bool, merge: bool) -> None:
    optimizers = {f"optimizer_{each.lower()}": f"optimistic_adam({each}, lr=0.02, betas=[0.5, 0.9])" for each in "GD"}
    run = trainer(small(**optimizers), share=share, merge=merge)
    own = {name: copy.deepcopy(run.networks[name]) for name in "GD"}
    steppers = {name: OptimisticAdam(own[name].parameters(), lr=0.02, betas=(0.5, 0.9)) for name in "GD"}
    softplus = functional.softplus
    for x, z in zip(normals(20, 4, 2, seed=1), normals(20, 4, 2, seed=2), strict=True):
        run.step({"x": x, "z": z})
        for name in "DG":
            real, fake = own["D"](x), own["D"](own["G"](z))
            loss = softplus(-real).mean() + softplus(fake).mean() if name == "D" else softplus(-fake).mean()
            gradients = torch.autograd.grad(loss, list(own[name].parameters()))
            for parameter, gradient in zip(own[name].parameters(), gradients, strict=True):
                parameter.grad = gradient
            steppers[name].step()
    assert worst(_apart(run, own)) <= TOLERANCE


def _apart(run: Trainer, own: dict[str, nn.Module]) -> Iterator[float]:
    for name, network in own.items():
        for mine, theirs in zip(run.networks[name].state_dict().values(), network.state_dict().values(), strict=True):
            yield deviation(mine, theirs)


# Steps ahead of the update's own groups: the extragradient method.

SADDLE = """
gangraph: 1
name: saddle
variables: {{x: 1.0, y: 1.0}}
losses: {{game: x * y}}
train:
  batch: 1
  length: 600 steps
  optimizers: {{x: "sgd(x, lr=0.1)", y: "sgd(y, lr=0.1)"}}
  step:
    - update: {{x: {{minimize: game}}, y: {{maximize: game}}}}
{more}
"""
AHEAD = "      unroll: {steps: 1, gradient: false}"


def saddle(more: str = AHEAD) -> Spec:
    return read(SADDLE.format(more=more))


def test_extragradient_ends_in_the_saddle_that_simultaneous_descent_leaves() -> None:
    far = {}
    for more in ("", AHEAD):
        run = trainer(saddle(more))
        run.train(600)
        far[more] = float(value(run, "x") ** 2 + value(run, "y") ** 2) ** 0.5
    assert far[""] > 2**0.5 * 1.01**250
    assert far[AHEAD] < 0.1


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
def test_a_gan_by_extragradient_agrees_with_the_loop_by_hand(steps: int, share: bool, merge: bool) -> None:
    """With Adam, whose moments a step ahead leaves alone, and batch norm, whose statistics move once in a step."""
    networks = "{inputs: z, layers: 'linear(4), batch_norm, tanh, linear(2)'}"
    update = "update: {d: {minimize: judge}, g: {minimize: fool}}"
    spec = small(
        f"{{{update}, unroll: {{steps: {steps}, gradient: false}}, clip_grad_norm: 0.5}}",
        networks_g=networks, optimizer_g="adam(G, lr=0.02)", optimizer_d="sgd(D, lr=0.1, momentum=0.5)",
    )  # fmt: skip
    run = trainer(spec, share=share, merge=merge)
    own = {name: copy.deepcopy(run.networks[name]) for name in "GD"}
    made = {"G": torch.optim.Adam(own["G"].parameters(), lr=0.02)}
    made["D"] = torch.optim.SGD(own["D"].parameters(), lr=0.1, momentum=0.5)  # type: ignore[assignment]
    for x, z in zip(normals(20, 4, 2, seed=1), normals(20, 4, 2, seed=2), strict=True):
        theirs = run.step({"x": x, "z": z})
        start = {name: copy.deepcopy(network.state_dict()) for name, network in own.items()}
        moments = {name: copy.deepcopy(optimizer.state_dict()) for name, optimizer in made.items()}
        losses = _gradients(own, x, z)
        moved = {name: buffer.clone() for name, buffer in own["G"].named_buffers()}
        for _ in range(steps):
            for optimizer in made.values():
                optimizer.step()
            for name, buffer in own["G"].named_buffers():
                buffer.copy_(start["G"][name])
            _gradients(own, x, z)
        for name, network in own.items():
            gradients = [p.grad for p in network.parameters()]
            network.load_state_dict(start[name] | (moved if name == "G" else {}))
            made[name].load_state_dict(moments[name])
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.grad = gradient
            made[name].step()
        assert worst(deviation(theirs[name], loss) for name, loss in losses.items()) <= TOLERANCE
    assert worst(_apart(run, own)) <= TOLERANCE


def _gradients(own: dict[str, nn.Module], x: Tensor, z: Tensor) -> dict[str, Tensor]:
    """Both players' gradients from one forward pass, limited in length; returns the losses."""
    softplus, fake = functional.softplus, own["G"](z)
    losses = {"judge": softplus(-own["D"](x)).mean() + softplus(own["D"](fake)).mean()}
    losses["fool"] = softplus(-own["D"](fake)).mean()
    for name, loss in (("D", losses["judge"]), ("G", losses["fool"])):
        parameters = list(own[name].parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, 0.5)
    return {name: loss.detach() for name, loss in losses.items()}


def test_a_run_that_looks_ahead_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    update = "update: {d: {minimize: judge}, g: {minimize: fool}}, times: 2, draw: all"
    step = f"{{{update}, unroll: {{steps: 2, gradient: false}}}}"
    spec = small(step, optimizer_g="adam(G, lr=0.02)", optimizer_d="optimistic_adam(D, lr=0.02)")
    whole, half = (Trainer(spec, device="cpu", seed=3) for _ in range(2))
    whole.train(6)
    half.train(4)
    half.save(tmp_path / "saved")
    again = Trainer.resume(tmp_path / "saved", device="cpu")
    again.train(2)
    assert same(tensors_of(whole.engine), tensors_of(again.engine))


def test_no_step_ahead_is_the_plain_update() -> None:
    none = saddle("      unroll: {steps: 0, gradient: false}")
    assert fingerprint(none) == fingerprint(saddle(""))
    assert fingerprint(saddle()) != fingerprint(none)
    (found,) = changes(none, saddle(), 0)
    assert (found.path, found.touches) == ("train.step.0.unroll.steps", "trained")


# A history of what the update does not move.

AHEAD_OF_G = "unroll: {steps: 2, gradient: false}"


def remembered(step: str, optimizer: str, layers: str = "linear(2), dropout(0.5)") -> Spec:
    """G comes to the past values of a network that nothing trains."""
    parts = {
        "more_networks": "  E: {inputs: z, layers: '" + layers + "'}",
        "more_values": "  past: history(E(z), 6)",
        "fool": "l2(fake, past)",
    }
    return small(step, "{update: d, minimize: judge}", optimizer_g=optimizer, **parts)


@pytest.mark.parametrize(
    ("optimizer", "more", "pushed"),
    [
        ("lbfgs(G, max_iter=5)", "", 1),
        (f"'lbfgs(G, {STRONG})'", "", 1),
        ("lbfgs(G, max_iter=5)", ", times: 2, draw: z", 2),
        ("sgd(G, lr=0.1)", f", {AHEAD_OF_G}", 1),
        ("sgd(G, lr=0.1)", f", {AHEAD_OF_G}, times: 2, draw: z", 2),
    ],
)
@pytest.mark.parametrize(("share", "merge"), [PLANS[0], PLANS[3]], ids=[NAMES[0], NAMES[3]])
def test_all_evaluations_of_an_update_see_one_mixture(
    optimizer: str, more: str, pushed: int, share: bool, merge: bool
) -> None:
    update = "update: {g: {minimize: fool}}"
    run = trainer(remembered(f"{{{update}{more}}}", optimizer), share=share, merge=merge)
    evaluated = list[Tensor]()
    segment = run.engine.program.plan.updates[0].body[-1].name
    place = run.engine.program.segments[segment].reads.index("past")
    module = run.engine.modules[segment]

    def watched(*given: Tensor) -> tuple[Tensor, ...]:
        evaluated.append(given[place])
        return module(*given)

    run.engine.modules[segment] = watched
    for step in range(1, 5):
        run.step()
        assert run.engine.histories["past"].calls == step * pushed
        assert len(evaluated) > pushed
        assert len({tuple(each.flatten().tolist()) for each in evaluated}) == pushed
        evaluated.clear()


# Every view tells of it.


def test_every_view_tells_of_the_steps_ahead() -> None:
    spec = saddle()
    checked = check_phase(spec, spec.phases[0])
    program = compile_phase(checked)
    assert "looks ahead      one step of x (sgd on x) and y (sgd on y), without gradient" in plan_text(program)
    assert "taken where one step of x and y would lead" in " ".join(explain_text(spec, [program.plan]).split())
    assert r"\text{with gradients where one step of the update would take } x, y" in latex_text([checked])
    assert "with gradients 1 step ahead" in draw(checked.graph)
    assert "      unroll: {steps: 1, gradient: false}" in spec_text(spec)
    (found,) = differences(saddle(""), spec)
    assert "took its gradients" in str(found) or "takes its gradients" in str(found)


def test_every_view_tells_of_several_evaluations() -> None:
    spec = picture()
    checked = check_phase(spec, spec.phases[0])
    program = compile_phase(checked)
    assert "evaluates        at as many points as lbfgs asks for" in plan_text(program)
    told = " ".join(explain_text(spec, [program.plan]).split())
    assert "LBFGS computes the objective at several points, all on the same draws." in told
    assert "V(content) is computed once, before the evaluations" in told
    assert r"\text{at several points of one step, on the same draws}" in latex_text([checked])
    assert "evaluated several times" in draw(checked.graph)


def with_a_past() -> Spec:
    """Extragradient, with a critic of past samples that no update moves."""
    update = "{update: {d: {minimize: judge}, g: {minimize: fool}}, unroll: {steps: 2, gradient: false}}"
    return small(update, judge="logistic.critic(real=D(history(2 * x, 6)), fake=D(fake))")


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
def test_a_history_moves_in_the_first_evaluation_alone(share: bool, merge: bool) -> None:
    run = trainer(with_a_past(), share=share, merge=merge)
    (past,) = run.engine.histories.values()
    given, places = normals(3, 4, 2), torch.tensor([-1, 0, 1, 2])
    for x in given:
        run.step({"x": x, "2 * x:history": places})
    first, second, third = (2 * x for x in given)
    assert past.samples is not None and past.count == 6 and past.calls == 3
    assert torch.equal(past.samples, torch.cat([third[1:4], first[3:], second[:2]]))


@pytest.mark.parametrize(
    "spec",
    [
        picture(),
        saddle(),
        with_a_past(),
        remembered("{update: g, minimize: fool}", "lbfgs(G, max_iter=5)", "linear(2)"),
    ],
    ids=["lbfgs", "extragradient", "extragradient with a past", "lbfgs with a past"],
)
def test_the_printed_step_does_what_the_engine_does(spec: Spec) -> None:
    mine, theirs = trainer(spec), trainer(spec)
    engine = mine.engine
    engine.draws.begin({})
    given = {
        "draw": lambda source: next(iter(engine.draws.draw(source, 0).values())),
        "histories": engine.histories,
        "optimizers": engine.optimizers,
        "parameters_of": engine.parameters.get,
        "step": 0,
        **engine.networks.callable,
    }
    exec(code_text(engine.program), given)
    theirs.step()
    for name, network in theirs.networks.items():
        pairs = zip(mine.networks[name].state_dict().values(), network.state_dict().values(), strict=True)
        assert worst(deviation(p, q) for p, q in pairs if q.dim()) <= 1e-12
