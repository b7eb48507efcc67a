"""What a run writes down of its looks: numbers that are not finite, the best checkpoint, the time that is left."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gangraph.cli import main
from gangraph.report.reading import read_run
from gangraph.saved.files import json_text
from gangraph.session import reporter as report
from gangraph.session.run import run as start
from tests.support import read

# The metric is NaN in the first 12 of 20 steps, and finite from then on.
NAN_FIRST = """
gangraph: 1
name: nan_first
data:
  x: uniform(2, low=-1, high=1)
  z: normal(4)
networks:
  G: {inputs: z, layers: "linear(4), relu, linear(2)"}
  D: {inputs: x, layers: "linear(4), leaky_relu(0.2), linear(1)"}
values:
  fake: G(z)
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
train:
  batch: 8
  length: 20 steps
  save: 5 steps
  optimizers:
    critic: adam(D, lr=1e-3)
    generator: adam(G, lr=1e-3)
  step:
    - {update: critic, minimize: judge}
    - {update: generator, minimize: fool}
evaluate:
  every: 5 steps
  metrics: {gap: "mean(log(progress - 0.6 + 0.001 * exp(fake - 20)))", other: "mean(log(0 - exp(fake)))"}
  results: {unreal: "mean(log(0 - exp(fake)))"}
  best: max(gap)
"""


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def strict(text: str) -> Any:
    """JSON as everyone but Python reads it: without NaN and Infinity."""
    return json.loads(text, parse_constant=_refused)


def test_a_number_that_is_not_finite_is_null_in_json() -> None:
    inf = float("inf")
    made = json_text({"a": float("nan"), "b": [inf, -inf, 1.5], "c": {"d": (inf, 2)}, "e": "NaN"})
    assert strict(made) == {"a": None, "b": [None, None, 1.5], "c": {"d": [None, 2]}, "e": "NaN"}


@pytest.fixture(scope="module")
def nan_first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("nan") / "run"
    yield start(read(NAN_FIRST), out=folder, device="cpu")


def test_nan_is_never_the_best_of_its_metric(nan_first: Path) -> None:
    best = strict((nan_first / "checkpoints" / "best" / "metric.json").read_text())
    assert best["step"] == 20
    assert best["value"] == pytest.approx(-0.916, abs=1e-3)


def test_files_of_a_run_are_json_though_numbers_are_not_finite(nan_first: Path) -> None:
    lines = [strict(line) for line in (nan_first / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"]: line["metrics"]["gap"] for line in lines if "metrics" in line}[5] is None
    assert {line["metrics"]["other"] for line in lines if "metrics" in line} == {None}
    results = strict((nan_first / "results.json").read_text())["results"]
    assert results["unreal"]["value"] is None
    assert "not finite" in results["unreal"]["why"]
    for path in [*nan_first.glob("*.json"), *nan_first.glob("checkpoints/*/*.json")]:
        strict(path.read_text())


def test_a_report_leaves_out_what_is_not_finite(nan_first: Path) -> None:
    curves = read_run(nan_first).curves("metrics")
    assert [step for step, _ in curves["gap"]] == [15, 20]
    assert "other" not in curves


def test_what_json_prints_is_json_though_numbers_are_not_finite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(NAN_FIRST)
    assert main(["run", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu", "--json"]) == 0
    printed = [strict(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["metrics"]["other"] for line in printed if "metrics" in line} == {None}
    assert main(["measure", str(tmp_path / "run"), "--device", "cpu", "--json"]) == 0
    assert strict(capsys.readouterr().out)["results"]["other"]["value"] is None


@pytest.mark.parametrize("terminal", [False, True])
def test_the_time_that_is_left_is_reckoned_from_where_a_resumed_run_began(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(report.time, "monotonic", lambda: now[0])
    told = report._Terminal() if terminal else report._Plain()
    if isinstance(told, report._Terminal):
        told.bar.get_time = lambda: now[0]
        told.bar.tasks[0]._get_time = told.bar.get_time
    line = {"step": 1, "images_per_second": 1.0, "losses": {}, "metrics": {}}
    for share in (0.80, 0.85, 0.90):  # a twentieth in 10 s: the last tenth takes 20 s
        told.progress(line, share)
        now[0] += 10.0
    if isinstance(told, report._Terminal):
        assert told.bar.tasks[0].time_remaining == pytest.approx(20, abs=1)
    else:
        assert capsys.readouterr().out.splitlines()[-1].endswith("ETA 20 s")
