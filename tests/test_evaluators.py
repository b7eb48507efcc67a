"""Networks that another spec trains: called, trained once, loaded frozen, and stated beside what they judge."""

import json
import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import gangraph
from gangraph.cli import main
from gangraph.errors import RunError
from gangraph.folder.cache import place
from gangraph.folder.results import read_results
from gangraph.language.document.library import evaluators
from gangraph.language.document.parse import Choice, parse
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.session import evaluators as cache
from gangraph.session.run import measure_now, measure_run, prepare, run
from gangraph.session.session import Session
from tests.support import DEFAULTS, DRAW_ONCE, SMALL, same, snapshot

JUDGE = """
gangraph: 1
name: judge
params: {width: 4, steps: 3}
data:
  x: plane(std=0.3)
networks:
  C: {inputs: x, parts: {body: "linear(width), batch_norm, relu, dropout(0.5)", a: linear(1), b: linear(2)},
    values: {h: body(x)}, outputs: {side: a(h), place: b(h)}}
  E: average(C, decay=0.5)
values:
  told: C(x)
losses:
  away: l2(told.place, x) + mean(told.side ** 2)
train:
  batch: 8
  length: 3 steps
  optimizers: {judge: "adam(C, lr=1e-2)"}
  step: [{update: judge, minimize: away}]
evaluate:
  result_samples: 16
  results: {error: "mean(abs(told.place - x))", fixed: mean(x)}
"""
JUDGED = """
evaluate:
  every: 1 steps
  samples: 4
  result_samples: 20
  networks:
    C: trained("judge", network="C", width=5)
    E: trained("judge", network="E", width=5)
  grid: [C(fake).place, fake]
  metrics: {place: mean(C(fake).place)}
  results: {side: mean(C(fake).side), slow: mean(E(fake).side), plain: mean(fake)}
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_CACHE", str(tmp_path / "cache"))


def judged(folder: Path, evaluate: str = JUDGED, judge: str = JUDGE, **parts: str) -> Spec:
    """A small spec in a folder with the spec of its evaluator beside it."""
    (folder / "judge.yaml").write_text(judge)
    chosen: Mapping[str, Any] = {**DEFAULTS, "length": "  length: 2 steps", "evaluate": evaluate, **parts}
    step = "\n".join(["  step:", *(f"    - {entry}" for entry in DRAW_ONCE)])
    (folder / "small.yaml").write_text(SMALL.format(**chosen, step=step))
    return resolve(parse(folder / "small.yaml"), Choice())


def runs(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "cache" / "evaluators").glob("*") if path.is_dir())


def test_an_evaluator_is_trained_once_and_judges_frozen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = judged(tmp_path)
    run(spec, out=tmp_path / "run", device="cpu")
    (own,) = runs(tmp_path)
    told = capsys.readouterr()
    assert own.name.startswith("judge-")
    assert told.err.count("training the evaluator, once for this machine") == 1
    assert "judge: step 3" in told.err and "once for this machine" not in told.out
    assert "judged by C, network C of judge (error " in told.out
    stamp = (own / "metrics.jsonl").stat().st_mtime_ns
    trainer = gangraph.Trainer(spec, device="cpu")
    before = measure_now(trainer)
    assert (own / "metrics.jsonl").stat().st_mtime_ns == stamp
    assert trainer.networks.keys() == {"G", "D"}
    trainer.train(steps=2)
    assert measure_now(trainer)["side"].value != before["side"].value
    numbers = json.loads((own / "results.json").read_text())
    facts = before["side"].protocol["C"]
    assert facts["spec"] == "judge" and facts["error"] == numbers["results"]["error"]["value"]
    assert facts["fingerprint"] == numbers["fingerprint"]
    assert "C" not in before["plain"].protocol and "E" in before["slow"].protocol


def test_an_evaluator_gives_what_its_own_run_gives_in_evaluation_mode(tmp_path: Path) -> None:
    spec = judged(tmp_path, JUDGED.replace("samples: 4", "samples: 4\n  mode: train"))
    trainer = gangraph.Trainer(spec, device="cpu")
    look = trainer.evaluate()
    (own,) = runs(tmp_path)
    judge = gangraph.Trainer.resume(own / "checkpoints" / "step-00000003", device="cpu").networks["C"].eval()
    assert look is not None
    fakes = look.grid["fake"]
    with torch.no_grad():
        assert torch.allclose(look.grid["C(fake).place"], judge(fakes)["place"], atol=1e-6)
        assert not torch.allclose(look.grid["C(fake).place"], judge.train()(fakes)["place"], atol=1e-3)


def test_an_average_and_its_network_judge_apart_and_both_are_frozen(tmp_path: Path) -> None:
    trainer = gangraph.Trainer(judged(tmp_path), device="cpu")
    found = measure_now(trainer)
    assert found["side"].value != found["slow"].value
    evaluation = trainer.checked[0].graph.evaluation
    (own,) = runs(tmp_path)
    kept = gangraph.Trainer.resume(own / "checkpoints" / "step-00000003", device="cpu").networks
    assert evaluation is not None
    for name, judge in evaluation.evaluators.items():
        model = trainer.checked[0].evaluators[name]
        loaded = cache.load_trained(judge, model)
        assert same(snapshot({name: loaded}), snapshot({name: kept[name]}))
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def test_other_params_are_another_evaluator_and_words_are_not(tmp_path: Path) -> None:
    spec = judged(tmp_path, JUDGED.replace('network="E", width=5', 'network="E", width=6'))
    prepare(spec, "cpu")
    assert len(runs(tmp_path)) == 2
    prepare(judged(tmp_path, judge=JUDGE.replace("name: judge", "name: judge\nabout: the same")), "cpu")
    assert len(runs(tmp_path)) == 2


def test_a_half_trained_evaluator_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = judged(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "_finished", lambda self: setattr(self.stop, "asked", True) or False)
        with pytest.raises(RunError, match=r"the training of the evaluator was stopped \('judge'\)"):
            prepare(spec, "cpu")
    (own,) = runs(tmp_path)
    assert [path.name for path in (own / "checkpoints").iterdir()] == ["step-00000001"]
    prepare(spec, "cpu")
    assert [json.loads(line)["step"] for line in (own / "metrics.jsonl").read_text().splitlines()][-1] == 3
    assert read_results(own) is not None


def test_a_run_says_what_its_results_need_and_measuring_trains_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = judged(
        tmp_path, JUDGED.replace("  grid: [C(fake).place, fake]\n  metrics: {place: mean(C(fake).place)}\n", "")
    )
    made = run(spec, out=tmp_path / "made", device="cpu")
    assert f"results need judge, not trained here yet; gangraph measure {made} does both" in capsys.readouterr().out
    assert runs(tmp_path) == []
    assert read_results(made) is None
    assert measure_run(made, device="cpu").results["side"].value is not None


@pytest.mark.parametrize(("trained_by", "asked"), [("C(x)", ".features"), ("C(x)", ""), ("C(x).features", "")])
def test_an_evaluator_is_called_in_another_form_than_it_is_trained_in(
    tmp_path: Path, trained_by: str, asked: str
) -> None:
    judge = f"""
gangraph: 1
name: judge
data: {{x: plane(std=0.3)}}
networks:
  C:
    inputs: x
    parts: {{body: "linear(3), tanh", head: linear(2)}}
    values: {{h: body(x)}}
    output: head(h)
    outputs: {{features: 2 * h}}
losses: {{away: mean(({trained_by}) ** 2) + mean(C(x) ** 2)}}
train: {{batch: 8, length: 2 steps, optimizers: {{j: adam(C)}}, step: [{{update: j, minimize: away}}]}}
"""
    evaluate = f"""
evaluate:
  networks: {{C: 'trained("judge", network="C")'}}
  results: {{r: mean(abs(C(fake){asked}))}}
"""
    made = run(judged(tmp_path, evaluate, judge=judge), out=tmp_path / "made", device="cpu")
    value = measure_run(made, device="cpu").results["r"].value
    assert value is not None
    assert value > 0


def test_other_numbers_of_an_evaluator_are_measured_without_training(tmp_path: Path) -> None:
    prepare(judged(tmp_path), "cpu")
    (before,) = runs(tmp_path)
    written = (before / "metrics.jsonl").read_text()
    prepare(judged(tmp_path, judge=JUDGE.replace("fixed: mean(x)", "fixed: mean(x) + 100")), "cpu")
    assert runs(tmp_path) == [before]
    assert (before / "metrics.jsonl").read_text().startswith(written)
    found = read_results(before)
    assert found is not None
    assert found.results["fixed"].value == pytest.approx(100, abs=2)


def test_what_is_left_of_a_killed_training_is_begun_anew(tmp_path: Path) -> None:
    spec = judged(tmp_path)
    (judge, *_) = (j for phase in spec.phases if phase.evaluate for j in phase.evaluate.networks.values())
    left = place(judge.spec)
    left.mkdir(parents=True)
    (left / "metrics.jsonl").write_text("")
    prepare(spec, "cpu")
    assert read_results(left) is not None


def _prepare(path: Path, place: str) -> None:
    import os

    os.environ["GANGRAPH_CACHE"] = place
    torch.set_num_threads(1)
    prepare(resolve(parse(path), Choice()), "cpu")


def test_two_processes_train_it_once(tmp_path: Path) -> None:
    judged(tmp_path)
    fork = multiprocessing.get_context("fork")
    arguments = (tmp_path / "small.yaml", str(tmp_path / "cache"))
    both = [fork.Process(target=_prepare, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    (own,) = runs(tmp_path)
    steps = [json.loads(line)["step"] for line in (own / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps.count(0) == 1


def test_measuring_trains_the_evaluator_that_a_newer_text_asks_for(tmp_path: Path) -> None:
    folder = run(judged(tmp_path, evaluate=""), out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "cache").exists()
    found = measure_run(folder, judged(tmp_path), device="cpu")
    assert found.results["side"].value is not None
    assert found.results["side"].protocol["C"]["network"] == "C"


def test_shipped_evaluators_are_checked_and_take_their_params(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"evaluators/recogniser", "evaluators/segmenter"} <= evaluators().keys()
    for name in evaluators():
        assert main(["check", name]) == 0, name
        spec = gangraph.load(name, set={"params.size": 32})
        (checked,) = gangraph.check_spec(spec)
        assert checked.lints == () and spec.phases[0].evaluate is not None and spec.phases[0].evaluate.results
    capsys.readouterr()
    assert main(["check", "evaluators/recogniser", "--set", "size=32", "--set", "channels=1"]) == 0
