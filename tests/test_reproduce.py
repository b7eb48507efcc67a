"""Reproductions: what is run, what is kept, what is measured again, and what is said of it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import gangraph
from gangraph.cli import main
from gangraph.errors import UsageError
from gangraph.folder.run_folder import RunFolder
from gangraph.reproduce.outcome import Number, Outcome, VariantOutcome, Verdict, read_outcome
from gangraph.reproduce.reproduction import Request, reproduce
from gangraph.reproduce.tables import outcome_text, results_page, system_page
from gangraph.reproduce.work import StoppedError, Task, work_on
from gangraph.session.run import run
from gangraph.trainer import Trainer

DOCS = Path(__file__).parent.parent / "docs"
BY_HAND = {"super_resolution", "video"}  # images of any size, and other profiles

SPEC = """
gangraph: 1
name: dots
about: Points on a ring
paper: {{title: On Dots, year: 2020, authors: A. Nobody}}
default_profile: quick
params: {{rate: {rate}, size: 64}}
data: {{x: plane(std=0.3), z: normal(2)}}
networks: {{G: "mlp(widths=[size], outputs=2)", D: "mlp(widths=[size])"}}
values: {{fake: G(z)}}
losses: {{judge: "logistic.critic(real=D(x), fake=D(fake))", fool: logistic.generator(D(fake))}}
train:
  batch: 4
  length: {length}
  optimizers: {{g: "adam(G, lr=rate)", d: "adam(D, lr=rate)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
evaluate:
  every: 5 steps
  metrics: {{distance: "mean(D(x)) - mean(D(fake))"}}
  results: {{{results}}}
  result_samples: 50
profiles: {{quick: {{size: 4}}}}
variants: {{slow: {{rate: 0.001}}, wild: {{rate: 1e29, losses: {{fool: "logistic.generator(D(fake)) * 1e29"}}}}}}
claims:
  - {{say: fast learns more, from: Table 1, check: "reach[full] > reach[slow]", note: or not}}
reported: [{{say: reach, from: Table 1, metric: reach, values: {{full: 1.5}}}}]
"""


def spec(
    folder: Path, *, rate: str = "0.01", length: str = "20 steps", results: str = "reach: mean(norm(fake))"
) -> Path:
    path = folder / "dots.yaml"
    path.write_text(SPEC.format(rate=rate, length=length, results=results))
    return path


def task(source: Path, folder: Path, variant: str = "", seed: int = 0) -> Task:
    return Task(
        source=str(source), profile="quick", variant=variant, settings=(), seed=seed, folder=folder, device="cpu"
    )


def checkpoints(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("checkpoints/step-????????/*.safetensors")
    }


def test_a_run_is_trained_once_and_then_found(tmp_path: Path) -> None:
    source, folder = spec(tmp_path), tmp_path / "out" / "seed-0"
    first = work_on(task(source, folder))
    before = checkpoints(folder)
    again = work_on(task(source, folder))
    assert first.trained
    assert not again.trained
    assert first.numbers == again.numbers
    assert checkpoints(folder) == before
    assert [set(metrics) for metrics in first.evaluations] == [{"distance"}] * 4
    assert "finished at step 20" in (folder / "log.txt").read_text()


def test_another_metric_is_measured_without_training(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    work_on(task(spec(tmp_path), folder))
    before = checkpoints(folder)
    found = work_on(task(spec(tmp_path, results="reach: mean(norm(fake)), lean: mean(fake)"), folder))
    assert not found.trained
    assert set(found.numbers) == {"reach", "lean", "distance"}
    assert checkpoints(folder) == before


def test_another_training_is_another_run_and_the_former_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    work_on(task(spec(tmp_path), folder))
    before = checkpoints(folder)
    assert work_on(task(spec(tmp_path, rate="0.02"), folder)).trained
    (kept,) = (path for path in tmp_path.glob("seed-0-*"))
    assert checkpoints(kept) == before
    assert checkpoints(folder) != before


def test_a_network_that_changed_in_its_file_makes_another_run(tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    network, folder = tmp_path / "networks" / "own.yaml", tmp_path / "seed-0"
    network.write_text("inputs: x\nlayers: linear(4), relu, linear(1)\n")
    source = spec(tmp_path)
    source.write_text(source.read_text().replace('D: "mlp(widths=[size])"', "D: own"))
    work_on(task(source, folder))
    network.write_text("inputs: x\nlayers: linear(4), tanh, linear(1)\n")
    assert "tanh" not in str(Trainer.resume(RunFolder(folder).latest()).networks["D"])  # by its copy of the file
    with pytest.raises(UsageError, match=r"networks\.D\.layers"):
        Trainer.resume(RunFolder(folder).latest(), spec=gangraph.load(source))
    assert work_on(task(source, folder)).trained
    assert len(list(tmp_path.glob("seed-0-*"))) == 1


def test_a_run_that_was_cut_is_resumed_to_the_same_end(tmp_path: Path) -> None:
    from gangraph.language.document.parse import Choice, parse
    from gangraph.language.resolve.document import resolve

    source = spec(tmp_path)
    work_on(task(source, tmp_path / "whole"))
    run(resolve(parse(source), Choice(profile="quick")), out=tmp_path / "cut", steps=7, device="cpu")
    assert work_on(task(source, tmp_path / "cut")).trained
    last = "checkpoints/step-00000020/tensors.safetensors"
    assert (tmp_path / "cut" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()


def test_a_folder_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("")
    assert work_on(task(spec(tmp_path), folder)).trained


def test_a_run_that_diverges_is_a_finding(tmp_path: Path) -> None:
    found = work_on(task(spec(tmp_path), tmp_path / "seed-0", variant="wild"))
    assert "not finite" in found.failed
    assert found.numbers == {}


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    whole = work_on(task(spec(tmp_path), folder))
    before = checkpoints(folder)
    (folder / "checkpoints" / "step-00000020" / "state.json").write_text("{")
    again = work_on(task(spec(tmp_path), folder))
    assert again.trained and again.numbers == whole.numbers
    assert checkpoints(folder) == before


def test_a_checkpoint_that_a_kill_left_aside_is_not_trained_again(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    work_on(task(spec(tmp_path), folder))
    for path in [*(folder / "checkpoints").glob("step-*")]:
        path.rename(path.with_name(f".{path.name}.former"))
    assert not work_on(task(spec(tmp_path), folder)).trained


def test_a_run_whose_files_are_damaged_is_a_finding(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    work_on(task(spec(tmp_path), folder))
    for path in (folder / "checkpoints").glob("step-*/state.json"):
        path.write_text("{")
    assert "state.json: Expecting property name" in work_on(task(spec(tmp_path), folder)).failed


def test_evaluations_by_other_metrics_are_not_taken_for_these(tmp_path: Path) -> None:
    folder, source = tmp_path / "seed-0", spec(tmp_path)
    work_on(task(source, folder))
    source.write_text(source.read_text().replace("mean(D(x)) - mean(D(fake))", "0 - mean(D(fake))"))
    found = work_on(task(source, folder))
    assert not found.trained
    assert found.evaluations == ()
    assert "evaluated by other metrics" in found.unevaluated


def test_nothing_begins_once_a_person_has_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = torch.multiprocessing.get_context("spawn").Event()
    stop.set()
    monkeypatch.setattr("gangraph.reproduce.work._stop", stop)
    with pytest.raises(StoppedError):
        work_on(task(spec(tmp_path), tmp_path / "seed-0"))


def test_the_command_runs_judges_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, folder, page = str(spec(tmp_path)), tmp_path / "out", tmp_path / "results.md"
    arguments = ["reproduce", source, "--seeds", "2", "--out", str(folder), "--page", str(page)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "[4/4]" in said
    assert said.count("trained in") == 4
    assert "paper's reach" in said
    assert "mlp(widths=[4]" in said.partition("deviations from the paper:")[2]
    outcome = read_outcome(folder)
    assert [variant.name for variant in outcome.variants] == ["full", "slow"]
    assert outcome.seeds == (0, 1)
    (verdict,) = outcome.verdicts
    assert len(verdict.margins) == 2
    assert (verdict.check, verdict.note) == ("reach[full] > reach[slow]", "or not")
    means = {v.name: v.numbers["reach"].mean for v in outcome.variants}
    assert verdict.margin == pytest.approx(means["full"] - means["slow"])
    assert page.read_text().startswith("# dots\n")
    assert "A claim is *held* if" in page.read_text()

    assert main([*arguments, "--strict"]) == (0 if verdict.held else 1)
    assert capsys.readouterr().out.count("was there") == 4
    assert read_outcome(folder).verdicts == outcome.verdicts


def test_an_interrupted_reproduction_saves_and_goes_on(tmp_path: Path) -> None:
    source, folder = str(spec(tmp_path, length="3000 steps")), tmp_path / "out"
    command = [sys.executable, "-m", "gangraph", "reproduce", source, "--seeds", "1", "--out", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as going:
        while not list(folder.glob("*/*/checkpoints/step-*")) and going.poll() is None:
            time.sleep(0.1)
        os.killpg(going.pid, signal.SIGINT)
        assert going.stderr is not None
        assert "stopped with 0 of 2 runs done; the same command goes on from here" in going.stderr.read()
    assert going.returncode == 130
    (log,) = folder.glob("*/*/log.txt")
    assert "stopped at step" in log.read_text()
    assert work_on(task(Path(source), log.parent)).trained
    assert re.search(r"continuing .*at step", log.read_text(), re.DOTALL)
    assert "finished at step 3000" in log.read_text()


@pytest.mark.parametrize("measured", [True, False])
def test_variants_of_a_reported_number_are_run_where_it_is_measured(tmp_path: Path, *, measured: bool) -> None:
    path = spec(tmp_path, results="reach: mean(norm(fake)), lean: mean(fake)")
    text = path.read_text().partition("reported:")[0]
    text += "reported: [{say: lean, from: Table 2, metric: lean, values: {full: 0, wild: 1}}]\n"
    path.write_text(text if measured else text.replace("size: 4}", "size: 4, evaluate: {results: {lean: none}}}"))
    found = reproduce(Request(source=str(path), seeds=1, settings={"train.length": "1 step"}, out=tmp_path / "out"))
    assert [variant.name for variant in found.variants] == ["full", "slow", *(["wild"] if measured else [])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one spec, or take --all"),
        (["dots.yaml", "--all"], "name one spec, or take --all"),
        (["--all", "--set", "a=b"], "--all takes no --variants, --set or --out"),
        (["--all", "--page", "found"], "--page takes a file such as 'found.md'"),
        (
            ["dots.yaml", "--variants", "slwo"],
            "there is no variant 'slwo': one of full, slow, wild; did you mean 'slow'?",
        ),
        (["nothing.yaml"], "no spec 'nothing.yaml'"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    spec(tmp_path)
    assert main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_spec_that_claims_nothing_is_told(tmp_path: Path) -> None:
    path = spec(tmp_path)
    path.write_text(path.read_text().partition("claims:")[0])
    with pytest.raises(UsageError, match="'dots' claims nothing that could be judged"):
        reproduce(Request(source=str(path)))


def test_a_spec_without_a_length_is_told_before_anything_runs(tmp_path: Path) -> None:
    path = spec(tmp_path)
    path.write_text(path.read_text().replace("  length: 20 steps\n", ""))
    with pytest.raises(UsageError, match="'dots' states no length to train for"):
        reproduce(Request(source=str(path), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_settings_of_a_request_are_deviations_under_the_papers_profile_too(tmp_path: Path) -> None:
    request = {"source": str(spec(tmp_path)), "profile": "paper", "variants": ("full",), "seeds": 1, "device": "cpu"}
    plain = reproduce(Request(**request, out=tmp_path / "plain"))
    assert plain.deviations == ()
    changed = reproduce(Request(**request, settings={"train.batch": "8"}, out=tmp_path / "changed"))
    assert changed.deviations == ("the batch was 4, and is now 8",)
    assert plain.settings == {}
    assert read_outcome(tmp_path / "changed").settings == {"train.batch": "8"}
    assert changed.command == "gangraph reproduce dots --profile paper --seeds 1 --set train.batch=8"
    assert "dots, profile paper, train.batch=8: 1 variants" in outcome_text(changed)
    assert f"`{changed.command}`" in system_page(changed)


def number(*values: float | None, why: str = "") -> Number:
    return Number(values=values, protocol={"samples": 50}, why=why)


OUTCOME = Outcome(
    name="dots",
    profile="quick",
    about="Points",
    paper={"title": "On Dots", "year": "2020"},
    spec="",
    origin="dots",
    seeds=(0, 1, 2),
    variants=(
        VariantOutcome(
            name="full", runs=(), numbers={"reach": number(1.0, 2.0, 3.0), "fid": number(None, why="no file")}
        ),
        VariantOutcome(name="slow", runs=(), numbers={"reach": number(1.0, None, None)}),
    ),
    reported=(),
    verdicts=(
        Verdict(say="a", source="Table 1", check="reach[full] > 1", margins=(0.0, 1.0, 2.0)),
        Verdict(say="b", source="", check="x | y", margins=(9.0, -1.0, -2.0)),
        Verdict(say="c", source="", check="z > 1", margins=(), why="no file"),
    ),
    deviations=("size is 4",),
    environment={},
    seconds=3600.0,
)


def test_a_claim_is_held_by_the_mean_and_by_most_seeds() -> None:
    assert [verdict.held for verdict in OUTCOME.verdicts] == [True, False, False]
    assert [verdict.judged for verdict in OUTCOME.verdicts] == [True, True, False]
    assert number(1.0, 2.0, 3.0).mean == 2.0
    assert number(1.0, 2.0, 3.0).spread == 1.0
    assert (number(None).mean, number(1.0, None).spread) == (None, None)


def test_the_tables_say_what_was_measured_and_what_was_not() -> None:
    text = outcome_text(OUTCOME)
    assert "2 ± 1" in text
    assert "not measured" in text
    assert "1 of 2 held, 1 could not be judged" in text
    assert "no file" in text
    page = system_page(OUTCOME)
    assert "| full | 2 ± 1 | not measured |" in page
    assert "| b |  | `x \\| y` | **not held** | 2 ± 6.1 | 1 of 3 |" in page
    assert "- size is 4" in page
    widths = {line.count("|") - line.count("\\|") for line in page.splitlines() if line.startswith("| full")}
    assert widths == {4}


def test_the_page_of_results_has_a_line_and_a_link_for_each_system() -> None:
    other = replace(OUTCOME, name="lines", seconds=7200.0, verdicts=OUTCOME.verdicts[:1])
    page = results_page([OUTCOME, other], "found")
    assert "| [dots](found/dots.md) | quick | 2 | 3 | 1 of 2 held, 1 could not be judged | 1.0 |\n" in page
    assert page.endswith("| [lines](found/lines.md) | quick | 2 | 3 | 1 of 1 held | 2.0 |\n")
    assert page.count("A claim is *held* if") == 1
    assert "reach[full]" not in page


def test_the_page_of_a_system_links_to_all_systems_or_explains_its_numbers() -> None:
    linked, alone = system_page(OUTCOME, "../results.md"), system_page(OUTCOME)
    assert linked.startswith(
        "# dots\n\n*On Dots* (2020). Points.\n\n`gangraph reproduce dots --profile quick --seeds 3`\n"
    )
    assert "](../results.md)" in linked and "A claim is *held* if" not in linked
    assert "results.md" not in alone and "A claim is *held* if" in alone


def test_all_writes_a_table_and_a_page_for_each_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = {name: replace(OUTCOME, name=name) for name in ("dots", "lines")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gangraph.language.document.library.shipped", lambda: outcomes)
    monkeypatch.setattr("gangraph.reproduce.reproduction.reproduce", lambda request: outcomes[request.source])
    assert main(["reproduce", "--all"]) == 0
    assert (tmp_path / "docs" / "results.md").read_text() == results_page([*outcomes.values()])
    for name, outcome in outcomes.items():
        assert (tmp_path / "docs" / "results" / f"{name}.md").read_text() == system_page(outcome, "../results.md")


def results_of_the_documents() -> list[str]:
    return re.findall(r"^\| \[(\w+)\]\(results/\1\.md\)", (DOCS / "results.md").read_text(), flags=re.MULTILINE)


def test_every_shipped_result_has_its_page_in_the_form_that_is_written() -> None:
    names = results_of_the_documents()
    assert sorted({*names, *BY_HAND}) == sorted(path.stem for path in (DOCS / "results").glob("*.md"))
    assert (DOCS / "results.md").read_text().startswith(results_page([]).partition("\n| system")[0])
    for name in names:
        lines = (DOCS / "results" / f"{name}.md").read_text().splitlines()
        assert lines[0] == f"# {name}"
        assert lines[4].startswith(f"`gangraph reproduce {name} --profile ")
        assert lines[6] == system_page(OUTCOME, "../results.md").splitlines()[6]
        assert lines[8].startswith("| variant | ")


def test_a_command_is_printed_as_a_shell_takes_it() -> None:
    settings = {"train.length": "5 steps", "data.x.kind": '"grid"'}
    command = replace(OUTCOME, settings=settings).command
    assert shlex.split(command)[7:] == ["--set", "train.length=5 steps", "--set", 'data.x.kind="grid"']


def test_an_outcome_without_settings_is_an_older_one(tmp_path: Path) -> None:
    path = OUTCOME.save(tmp_path)
    older = json.loads(path.read_text())
    del older["settings"]
    path.write_text(json.dumps(older))
    assert read_outcome(tmp_path) == OUTCOME


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = OUTCOME.save(tmp_path)
    assert read_outcome(tmp_path) == OUTCOME
    assert json.loads(path.read_text())["verdicts"][0]["margins"] == [0.0, 1.0, 2.0]


def test_a_claim_that_untrained_networks_hold_too_is_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spec(tmp_path)
    text = path.read_text()
    path.write_text(
        text.replace(
            "claims:\n",
            "claims:\n"
            '  - {say: there are points, check: "reach > 0"}\n'
            '  - {say: it learns from its rate, check: "reach > 1.01 * reach[slow]"}\n'
            '  - {say: they part, check: "correlation(distance, reach) > -2"}\n',
        )
    )
    outcome = reproduce(Request(source=str(path), seeds=2, out=tmp_path / "out"))
    points, learns, part, _ = outcome.verdicts
    assert points.void
    assert not points.held
    assert all(margin > 0 for margin in points.margins)
    assert all(margin < 0 for margin in learns.untrained), "both begin with the same networks"
    assert not learns.void
    assert part.untrained == (), "before the first step there is no course of a run"
    text = outcome_text(outcome)
    assert re.search(r"void +there are points", text)
    assert "untrained networks hold it by" in text
    assert "1 void" in text
    assert "| **void** |" in system_page(outcome)
    assert read_outcome(tmp_path / "out").verdicts == outcome.verdicts
    capsys.readouterr()


def test_untrained_networks_are_those_of_a_run_that_learns_nothing(tmp_path: Path) -> None:
    found = work_on(task(spec(tmp_path, rate="0.0"), tmp_path / "seed-0"))
    assert found.trained
    assert found.untrained["reach"].value == found.numbers["reach"].value
    learned = work_on(task(spec(tmp_path), tmp_path / "other"))
    assert learned.untrained["reach"].value == found.numbers["reach"].value != learned.numbers["reach"].value


def test_untrained_networks_are_measured_once_and_in_the_last_phase(tmp_path: Path) -> None:
    source, folder = spec(tmp_path), tmp_path / "seed-0"
    source.write_text(
        source.read_text()
        .replace(
            "  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]",
            "  phases:\n"
            "    - {name: one, length: 3 steps, step: [{update: d, minimize: judge}]}\n"
            "    - {name: two, length: 3 steps, step: [{update: d, minimize: judge}, {update: g, minimize: fool}]}",
        )
        .replace("  length: 20 steps\n", "")
    )
    first = work_on(task(source, folder))
    assert not first.failed
    assert set(first.untrained) == set(first.numbers) == {"reach", "distance"}
    kept = (folder / "untrained" / "results.json").read_bytes()
    again = work_on(task(source, folder))
    assert again.untrained == first.untrained
    assert (folder / "untrained" / "results.json").read_bytes() == kept
