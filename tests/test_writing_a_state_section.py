"""A section of states costs one file: a plug-in adds one and an op, and every stage, view and run knows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gangraph import Trainer
from gangraph.cli import main
from gangraph.cli.specs import schema
from gangraph.errors import CheckpointError, SpecError
from gangraph.folder.checkpoint import read_checkpoint
from gangraph.folder.plugins import plugins_of
from gangraph.language.continuation import changes
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.document.schema import Document, PhaseDocument, TrainDocument
from gangraph.language.fingerprint import fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.language.state_sections import KEYS, STATE_SECTIONS, state_section
from gangraph.pipeline import check_spec, compile_phase
from gangraph.registry import load_plugins
from gangraph.views.code import code_text
from gangraph.views.diff import differences
from gangraph.views.drawing import draw
from gangraph.views.explain import explain_text
from gangraph.views.latex import latex_text
from gangraph.views.plan import plan_text
from gangraph.views.spec import spec_text
from gangraph.views.text import shapes_text
from tests.plugin import installed
from tests.support import deviation, normals, same, snapshot, trainer

# The whole of it: which keys an entry has, and from them what it begins as and becomes.
PLUGIN = '''
"""The last samples of a value, as the dictionary of He et al. (2020) keeps them."""

import torch
from torch import Tensor

from gangraph import op, state_section


@op(mixes_samples=True)
def pushed(queue: Tensor, rows: Tensor) -> Tensor:
    """[N, ...] and [B, ...] to [N, ...]: the last N of all, the newest last."""
    return torch.cat([queue, rows])[len(rows) :]


state_section(
    "queues",
    called="queue",
    about="the last samples of values",
    keys={"of": "the value, [B, width]", "size": "how many samples; static", "width": "numbers in each; static"},
    start="zeros(size, width)",
    next="pushed(self, of)",
    module=__name__,
)
'''
TEXT = """
gangraph: 1
name: queued
params: {{n: 6}}
data: {{x: plane(std=0.3), z: normal(2)}}
networks:
  G: {{inputs: z, layers: "linear(4), tanh, linear(2)"}}
values: {{fake: G(z)}}
losses:
  near: mean((batch_mean(recent) - fake) ** 2) + k * mean(fake ** 2)
state:
  k: {{start: 0.5, next: k / 2}}
{queues}
train:
  batch: 4
  length: 20 steps
  optimizers: {{g: "sgd(G, lr=0.1)"}}
  step: [{{update: g, minimize: near}}]
{more}
"""
QUEUES = "queues:\n  recent: {of: x, size: n, width: 2}\n  others[i in 1..2]: {of: i * x, size: 2, width: 2, every: 2}"


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path) -> Iterator[None]:
    """The plug-in as if it were installed. Afterwards its section is gone."""
    with installed("queueing", "gangraph_queueing", PLUGIN, tmp_path):
        yield
    assert [*STATE_SECTIONS] == ["state"]


def text(queues: str = QUEUES, more: str = "") -> str:
    return TEXT.format(queues=queues, more=more)


def spec(queues: str = QUEUES, more: str = "", **choice: Any) -> Spec:
    return resolve(parse_text(text(queues, more)), Choice(**choice))


def test_each_step_leaves_what_the_record_says() -> None:
    run, batches = trainer(spec()), normals(5, 4, 2)
    losses = [run.step({"x": x}) for x in batches]
    seen = torch.cat([torch.zeros(6, 2, dtype=torch.float64), *batches])
    assert torch.equal(run.states["recent"], seen[-6:])
    for i in (1, 2):  # which moved in steps 0, 2 and 4
        assert torch.equal(run.states[f"others[{i}]"], i * batches[4][-2:])
    assert losses[0].keys() == {"near", "k"}


def test_what_it_leaves_is_read_by_the_next_step() -> None:
    run, (x, z, w) = trainer(spec()), normals(3, 4, 2)
    run.step({"x": x, "z": z})
    with torch.no_grad():
        fake = run.networks["G"](w)
        past = torch.cat([torch.zeros(2, 2, dtype=torch.float64), x])
        expected = ((past.mean(0, keepdim=True) - fake) ** 2).mean() + 0.25 * (fake**2).mean()
    assert deviation(run.step({"x": x, "z": w})["near"], expected) < 1e-12


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, first = trainer(spec()), trainer(spec())
    whole.train(steps=5)
    first.train(steps=2)
    resumed = Trainer.resume(first.save(tmp_path / "half"), device="cpu")
    resumed.train(steps=3)
    assert same(snapshot(whole.networks), snapshot(resumed.networks))
    assert same(whole.states, resumed.states)
    kept = {name for name in read_checkpoint(tmp_path / "half").tensors if name.startswith("state/")}
    assert kept == {"state/k", "state/recent", "state/others[1]", "state/others[2]"}


@pytest.mark.parametrize(("found", "said"), [((6, 3), r"\[6, 3\].*\[6, 2\]"), (None, "'state/recent' is missing")])
def test_a_damaged_one_is_refused(tmp_path: Path, found: tuple[int, int] | None, said: str) -> None:
    file = trainer(spec()).save(tmp_path / "run") / "tensors.safetensors"
    tensors = load_file(file)
    del tensors["state/recent"]
    save_file(tensors | ({} if found is None else {"state/recent": torch.zeros(found, dtype=torch.float64)}), file)
    with pytest.raises(CheckpointError, match=said):
        Trainer.resume(tmp_path / "run", device="cpu")


def test_a_phase_takes_it_over_or_lets_it_begin_anew() -> None:
    more = """  phases:
    - {length: 2 steps}
    - {length: 2 steps, queues: {"others[i in 1..2]": {size: 3}}}"""
    run, batches = trainer(spec(more=more)), normals(2, 4, 2)
    for x in batches:
        run.step({"x": x})
    before = run.states
    assert run.next_phase() == ["state others[1]", "state others[2]"]
    assert torch.equal(run.states["recent"], before["recent"])
    assert run.states["others[1]"].tolist() == [[0, 0]] * 3


def test_overlays_change_it_and_take_it_away() -> None:
    more = "variants:\n  long: {queues: {recent: {size: 9}}}\n  alone: {queues: {'others[i in 1..2]': none}}"
    assert spec(more=more, variant="long").phases[0].states["recent"].shape == (9, 2)
    assert [*spec(more=more, variant="alone").phases[0].states] == ["k", "recent"]
    assert spec(set={"queues.recent.size": "12"}).phases[0].states["recent"].shape == (12, 2)
    with pytest.raises(SpecError, match="'queus' is neither a section nor a param") as caught:
        spec(more="variants:\n  long: {queus: {recent: {size: 9}}}", variant="long")
    assert caught.value.problems[0].fix == "did you mean 'queues'?"


@pytest.mark.parametrize(
    ("queues", "code", "message"),
    [
        ("queues: {recent: {of: x, size: 6}}", "GG202", "'width:' is missing"),
        ("queues: {recent: {of: x, size: 6, widht: 2}}", "GG201", "unknown key 'widht'"),
        ("queus: {recent: {of: x, size: 6, width: 2}}", "GG201", "unknown key 'queus'"),
        ("queues: 3", "GG203", "this is not the kind of value that belongs here"),
        ("queues: {recent: x}", "GG550", "the queue 'recent' is not written like this"),
        ("queues: {recent: {of: x, size: k, width: 2}}", "GG550", "the sizes of a state are whole numbers"),
        ("queues: {recent: {of: x, size: 6, width: 3}}", "GG403", "'pushed' cannot take these values"),
        ("queues: {recent: {of: argmax(x), size: 6, width: 2}}", "GG403", "'pushed' cannot take these values"),
        ("queues: {recent: {of: xx, size: 6, width: 2}}", "GG310", "there is nothing called 'xx'"),
        ("queues: {recent: {of: x, size: 6, width: 2, when: near > 0}}", "GG553", "the queue 'recent' moves"),
        (
            "queues: {k: {of: x, size: 6, width: 2}, recent: {of: x, size: 6, width: 2}}",
            "GG103",
            "'k' is defined twice",
        ),
        ("queues: {fake: {of: x, size: 6, width: 2}, recent: {of: x, size: 6, width: 2}}", "GG411", "'fake' is taken"),
    ],
)
def test_misuse_is_told_where_it_is_written(queues: str, code: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_spec(spec(queues))
    problem = next(each for each in caught.value.problems if message in each.message)
    assert problem.code == code
    line = problem.span.text.content[: problem.span.start].count("\n")
    assert "queu" in problem.span.text.content.splitlines()[line]


def test_every_view_tells_it() -> None:
    made = spec()
    (checked,) = check_spec(made)
    program = compile_phase(checked)
    printed = "\nqueues:\n  recent:\n    of: x\n    size: 6\n    width: 2\n  others[1]:\n    of: 1 * x\n"
    assert printed in spec_text(made) and "\nstate:\n  k:\n    start: 0.5\n" in spec_text(made)
    assert "recent" in shapes_text(checked) and "[6, 2]" in shapes_text(checked)
    assert "recent = pushed(recent, x)" in plan_text(program)
    assert "recent = pushed(recent, x), from zeros(6, 2) on" in explain_text(made, [program.plan])
    assert 'recent = states["recent"]' in code_text(program) and 'after["recent"] = ' in code_text(program)
    assert "recent" in latex_text([checked])
    assert "from zeros(6, 2)" in draw(checked.graph)


def test_it_is_part_of_what_differs() -> None:
    one, other, rare = spec(), spec(set={"queues.recent.of": "2 * x"}), spec(set={"queues.recent.every": "3"})
    assert len({fingerprint(each) for each in (one, other, rare)}) == 3
    assert [str(each) for each in differences(one, other)] == [
        "what recent becomes was pushed(recent, x), and is now pushed(recent, 2 * x)"
    ]
    (change,) = changes(one, other, 0)
    assert (str(change), change.touches) == ("queues.recent.of: x -> 2 * x", "trained")
    (change,) = changes(one, rare, 0)
    assert (str(change), change.touches) == ("queues.recent.every: nothing -> 3", "now")


def test_it_is_the_same_as_the_state_that_it_stands_for() -> None:
    """What is trained is the same, whichever section says so."""
    plain = "  recent: {start: 'zeros(6, 2)', next: 'pushed(recent, x)'}"
    named = "queues:\n  recent: {of: x, size: n, width: 2}"
    load_plugins()
    assert fingerprint(spec(plain)) == fingerprint(spec(named))
    assert differences(spec(plain), spec(named)) == ()
    one, other = trainer(spec(plain)), trainer(spec(named))
    one.train(steps=3), other.train(steps=3)
    assert same(snapshot(one.networks), snapshot(other.networks))


def test_a_run_remembers_which_plug_in_it_came_from() -> None:
    assert plugins_of(spec()) == {"queueing": "gangraph-queueing 0.1.0"}


def test_the_command_line_and_editors_know_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "queued.yaml"
    path.write_text(text())
    assert main(["check", str(path)]) == 0
    capsys.readouterr()
    schema()
    assert '"the last samples of values"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "state"}, "the section 'state' is already there"),
        ({"name": "losses"}, "the section 'losses' is already there"),
        ({"name": "two words"}, "cannot have the name or key 'two words'"),
        ({"keys": {"every": "odd"}}, "cannot have the name or key 'every'"),
        ({"keys": {"self": "odd"}}, "cannot have the name or key 'self'"),
        ({"keys": {"step": "odd"}}, "cannot have the name or key 'step'"),
        ({"keys": {"of": "", "idle": ""}}, "uses its key 'idle' nowhere"),
        ({"next": "self + of + others"}, "uses 'others', which is none of its keys: of"),
        ({"start": "self"}, "in which there is no 'self' yet"),
        ({"next": "self +"}, "'next' of the section 'odd' is 'self \\+'"),
    ],
)
def test_a_record_that_could_not_be_meant_is_refused_at_once(changed: dict[str, Any], said: str) -> None:
    record = {"name": "odd", "called": "odd", "about": "", "keys": {"of": "x"}, "start": "0", "next": "self + of"}
    with pytest.raises(ValueError, match=said):
        state_section(**{**record, **changed}, module=__name__)
    assert "odd" not in STATE_SECTIONS


def test_the_names_that_are_taken_are_those_of_the_document() -> None:
    assert {*Document.model_fields, *PhaseDocument.model_fields} == KEYS
    phases = PhaseDocument.model_fields.keys() - Document.model_fields.keys() - {"name", "set", "carry"}
    assert phases <= TrainDocument.model_fields.keys()
