"""What a report reads: folders as runs leave them, and what it says of damaged ones."""

import json
from pathlib import Path

import pytest

from gangraph.errors import RunError, UsageError
from gangraph.report.reading import Reproduction, Run, read
from tests.report.folders import PROTOCOL, write_reproduction, write_run, write_state


def test_a_run_is_read_with_its_numbers_and_pictures(tmp_path: Path) -> None:
    results = {"fid": {"value": 12.5, "why": "", "protocol": PROTOCOL}}
    folder = write_run(tmp_path / "run", variant="slow", pictures=("", "walk"), reports=3, results=results)
    (folder / "samples" / "latest.png").write_bytes(b"")
    (folder / "samples" / "sample-00000100.png").write_bytes(b"")
    run = read(folder)
    assert isinstance(run, Run)
    assert (run.name, run.profile, run.variant, run.steps) == ("small", "paper", "slow", 100)
    assert {name: [step for step, _ in grid] for name, grid in run.samples.items()} == {
        "": [0, 50, 100],
        "walk": [0, 50, 100],
    }
    assert [step for step, _ in run.curves("losses")["judge"]] == [50, 100]
    assert run.results["fid"].mean == 12.5


def test_the_newest_checkpoint_says_what_was_trained(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_state(folder, variant="slow", step=200)
    run = read(folder)
    assert isinstance(run, Run)
    assert run.variant == "slow"


def test_without_a_checkpoint_the_resolved_text_names_the_form(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "run", variant="slow", checkpoint=False))
    assert isinstance(run, Run)
    assert (run.name, run.profile, run.variant, run.trained) == ("small", "paper", "slow", None)


def test_what_is_not_finite_is_left_out_of_curves(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").write_text(
        '{"step": 1, "losses": {"a": null, "b": 1}}\n{"step": 2, "losses": {"a": 2}}\n'
    )
    run = read(folder)
    assert isinstance(run, Run)
    assert run.curves("losses") == {"a": ((2, 2),), "b": ((1, 1),)}


def test_a_reproduction_is_read_with_the_runs_that_are_there(tmp_path: Path) -> None:
    folder = write_reproduction(tmp_path / "small")
    (folder / "slow" / "seed-1" / "spec.yaml").unlink()
    found = read(folder)
    assert isinstance(found, Reproduction)
    assert {name: len(runs) for name, runs in found.runs.items()} == {"full": 2, "slow": 1}


RESULTS = '{"fingerprint": "a", "evaluation": "b", "step": 1, "results": {"fid": VALUE}}'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("environment.json", "{", "'{}' is damaged: Expecting property name"),
        ("environment.json", "[]", "'{}' is damaged: found a list, expected names and values"),
        ("metrics.jsonl", "7\n", "'{}:1' is damaged: it: found 7, expected"),
        ("results.json", "{}", "'{}' is damaged: the key 'fingerprint' is missing"),
        ("results.json", RESULTS.replace("VALUE", "3"), "'{}' is damaged: results.fid: found 3"),
        (
            "checkpoints/step-00000100/state.json",
            '{"step": 1}',
            "state.json: the key 'positions' is missing",
        ),
        ("spec.yaml", b"\xff", "'{}' is damaged"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError) as raised:
        read(folder)
    assert said.format(folder / name) in str(raised.value)


@pytest.mark.parametrize("change", [lambda d: d.pop("verdicts"), lambda d: d.update(odd=1), lambda d: d.clear()])
def test_a_damaged_outcome_is_named(tmp_path: Path, change: object) -> None:
    folder = write_reproduction(tmp_path / "small")
    data = json.loads((folder / "reproduction.json").read_text())
    change(data)  # type: ignore[operator]
    (folder / "reproduction.json").write_text(json.dumps(data))
    with pytest.raises(RunError, match=r"reproduction\.json' is damaged"):
        read(folder)


def test_other_folders_are_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds neither a run"):
        read(tmp_path)
