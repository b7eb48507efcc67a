"""The harness of `gangraph bench kernels`: what it measures, tells and writes, with a fake kernel and a slow clock."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from gangraph.benchmarks import agreement, page, report, timing
from gangraph.benchmarks.ahead import Compiled
from gangraph.benchmarks.entry import Row
from gangraph.benchmarks.goals import misses
from gangraph.benchmarks.results import Machine, Results, bench
from gangraph.benchmarks.timing import Call, Clock, Measured, Timing, copy_bandwidth, measure, timed, wall_clock
from gangraph.cli import main
from gangraph.cli.bench import _prepared
from tests.kernels.fake import entry

GPU = Machine("NVIDIA H100", "580.1", "3.11.7", "2.11.0", "3.6.0", "2026-01-02")


@pytest.fixture(autouse=True)
def compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.compile` traces the reference and runs it as it is: no C++ compiler is waited for."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(timing, "COPY_BYTES", 2**20)
    monkeypatch.setattr("gangraph.benchmarks.results.copy_bandwidth", partial(copy_bandwidth, size=2**20))


def measured(
    eager: float, compiled: float, kernel: float, *, name: str = "squared", traffic: int = 10**8, backward: bool = False
) -> Measured:
    """A row as if it had been timed, in milliseconds."""
    row = Row("large", (8, 3, 1024, 1024), torch.bfloat16)
    times = {"eager": eager, "compiled": compiled, "kernel": kernel}
    timings = {contender: Timing(time, 0.9 * time, 1.1 * time) for contender, time in times.items()}
    memory = {"kernel": 5 * 10**7}
    return Measured(kernel=name, row=row, backward=backward, traffic=traffic, timings=timings, memory=memory)


@pytest.fixture
def on_a_gpu() -> Results:
    """Results as a GPU might give them: a copy moves 3 TB/s."""
    checks = bench([entry()], "cpu", None).checks
    fast = measured(0.2, 0.05, 0.035)
    slow = measured(0.4, 0.06, 0.1, backward=True, traffic=2 * 10**8)
    return Results(GPU, checks, 3e12, (fast, slow))


def test_a_timing_is_median_and_spread() -> None:
    clock = Clock(lambda calls: ([5.0, 1.0, 2.0, 4.0, 3.0, 6.0], "a note"))
    assert measure([lambda: None], clock) == Timing(3.5, 2.0, 5.0, "a note")


def test_every_timed_row_runs_in_both_types_and_directions_as_every_contender() -> None:
    calls: list[int] = []

    def run(functions: Sequence[Call]) -> tuple[list[float], str]:
        calls.append(len(functions))
        assert all(function() is not None for function in functions)
        return [1.0], ""

    found = list(timed(entry(), "cpu", Clock(run, cache=2000)))
    assert [(each.row.name, each.row.dtype, each.backward) for each in found] == [
        (name, dtype, backward)
        for name in ("small", "large")
        for dtype in (torch.float32, torch.bfloat16)
        for backward in (False, True)
    ]
    assert all(each.timings.keys() == {"eager", "compiled", "kernel"} for each in found)
    assert found[1].traffic == 4 * 4 * 192
    assert found[1].bandwidth("kernel") == 4 * 4 * 192 * 1e3
    assert set(calls) == {4, 7, 2}  # sets of inputs, until 2000 bytes lie between two uses of the same


def test_sets_of_inputs_share_no_memory() -> None:
    sets = timing._sets(entry(), Row("", (2, 3, 4, 5), layout="channels_last"), "cpu", Clock(lambda _: ([], ""), 600))
    xs = [x for each in sets if (x := each["x"]) is not None]
    assert len({x.data_ptr() for x in xs}) == len(xs) == 3
    assert {x.stride() for x in xs} == {(60, 1, 15, 3)}
    assert all(torch.equal(x, xs[0]) and x.requires_grad for x in xs)


def test_the_wall_clock_times_a_copy() -> None:
    assert copy_bandwidth("cpu", wall_clock(), size=2**20) > 1e6


def test_a_right_kernel_is_checked_and_timed() -> None:
    results = bench([entry()], "cpu", wall_clock())
    assert results.passed
    assert len(results.timings) == 8
    text = report.text(results)
    assert "squared: 2 rows agree" in text
    assert "large  4x3x64x64  bfloat16  forward and backward" in text
    assert "wall clock: 24 timings" in text


def test_no_speed_is_told_of_a_wrong_kernel() -> None:
    results = bench([entry("gradient"), entry()], "cpu", wall_clock())
    assert not results.passed
    assert results.timings == ()
    text = report.text(results)
    assert "squared: 1 of 4 rows disagree" in text
    assert "plain 2x3x4x5 float32 strided: gradient of x is off by" in text
    assert "ms" not in text


def test_a_kernel_that_raises_fails_its_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(agreement.__dict__, "poisoned", lambda: 1 / 0)
        (check,) = bench([entry()], "cpu", None).checks
    assert [failure.message for failure in check.failures] == ["ZeroDivisionError: division by zero"] * 2
    assert check.largest == {}


def test_json_holds_every_figure(on_a_gpu: Results) -> None:
    found = json.loads(json.dumps(report.as_json(on_a_gpu), allow_nan=False))
    assert found.keys() == {"machine", "passed", "checks", "copy_bandwidth", "timings", "misses"}
    assert found["machine"]["driver"] == "580.1"
    assert found["checks"][0]["largest_errors"].keys() == {"float32", "bfloat16"}
    fast = found["timings"][0]
    assert fast["shape"] == [8, 3, 1024, 1024]
    assert fast["contenders"]["kernel"] == {
        "median": 0.035,
        "low": 0.9 * 0.035,
        "high": 1.1 * 0.035,
        "note": "",
        "bandwidth": pytest.approx(1e8 / 35e-6),
        "share_of_copy": pytest.approx(1e8 / 35e-6 / 3e12),
        "peak_memory": 5 * 10**7,
    }
    assert len(found["misses"]) == 2


def test_goals_that_are_missed_are_listed() -> None:
    def goals(each: Measured) -> list[str]:
        return [miss.goal.split()[0] for miss in misses(Results(GPU, (), 1e12, (each,)))]

    assert goals(measured(1, 0.11, 0.11)) == []  # 91 % of 1 TB/s
    assert goals(measured(1, 0.2, 0.115)) == ["90%"]
    assert goals(measured(1, 0.2, 0.115, backward=True)) == []
    assert goals(measured(1, 0.2, 0.12, backward=True)) == ["85%"]
    assert goals(measured(1, 0.2, 0.12, traffic=10**7)) == []
    assert goals(measured(1, 0.1, 0.103)) == ["never"]
    assert goals(measured(0.3, 0.2, 0.105, name="style_epilogue")) == ["3"]


def test_page_without_a_gpu_says_so(tmp_path: Path) -> None:
    path = tmp_path / "kernels.md"
    assert page.write(path, [entry().kernel], bench([entry()], "cpu", None)) == [path]
    text = path.read_text()
    assert "Not measured yet: no GPU was at hand. To measure: `gangraph bench kernels --page docs/kernels.md`\n" in text
    row = "| `squared` | 1 | scale * x**2, as \\| a fake. | `square` → [`multiply`] (power=2) |"
    assert row in text
    assert "| `squared` | 2 of 2 | - | " in text
    assert "Checked on the Triton interpreter; torch 2." in text


def test_page_with_a_gpu_has_table_plot_and_misses(on_a_gpu: Results, tmp_path: Path) -> None:
    written = page.write(tmp_path / "kernels.md", [entry().kernel], on_a_gpu)
    assert written == [tmp_path / "kernels.md", tmp_path / "images" / "kernels.png"]
    assert written[1].read_bytes().startswith(b"\x89PNG")
    text = written[0].read_text()
    assert "(images/kernels.png)" in text
    assert "NVIDIA H100, driver 580.1; torch 2.11.0, triton 3.6.0, python 3.11.7; 2026-01-02" in text
    assert "| large | 8x3x1024x1024 | bfloat16 | forward | 0.2000 | 0.0500 | 0.0350 | " in text
    assert "| 2857 | 95% | - / - / 50 |" in text
    slow = "squared, large 8x3x1024x1024 bfloat16 contiguous, forward and backward"
    assert f"| {slow} | 85% of the bandwidth of a copy | 67% |" in text
    assert f"| {slow} | never slower than torch.compile | 1.67 times its time |" in text


def test_page_tells_what_was_compiled_ahead(on_a_gpu: Results) -> None:
    ahead = [
        Compiled("_kernel", 1, 90, "float32", "num_warps 8", registers=40),
        Compiled("_kernel", 1, 90, "float32", "num_warps 1", registers=255, spilled=64),
        Compiled("_kernel", 2, 90, "float32", "num_warps 8", registers=50),
        Compiled("_kernel", 2, 90, "float32", "num_warps 1", error="no"),
    ]
    assert "| `_kernel` | sm_90 | 2 | 40-50 | 0 | 1 |" in page.page([], on_a_gpu, ahead)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the fake kernel, no GPU, and nothing to compile."""
    monkeypatch.setattr("gangraph.benchmarks.entry.entries", lambda: iter([entry()]))
    monkeypatch.setattr("gangraph.benchmarks.ahead.compiled", lambda: ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # which the command sets for good


@pytest.mark.usefixtures("fakes")
def test_command_prints_text_or_json_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", "--only", "squared"]) == 0
    assert "the Triton interpreter, which says nothing of speed" in capsys.readouterr().out
    assert main(["bench", "kernels", "--json", "--page", str(tmp_path / "kernels.md")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["checks"][0]["kernel"] == "squared"
    first, *_, last = said.err.splitlines()  # without a terminal, each row is told as it is done
    assert first.startswith("checking squared: ") and last == f"wrote {tmp_path / 'kernels.md'}"
    assert (tmp_path / "kernels.md").read_text().startswith("# Kernels\n")


@pytest.mark.usefixtures("fakes")
def test_command_fails_on_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("gangraph.benchmarks.entry.entries", lambda: iter([entry("nan")]))
    assert main(["bench", "kernels"]) == 1
    assert "squared: 2 of 2 rows disagree" in capsys.readouterr().out


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "sqared"], "no kernel 'sqared': one of squared; did you mean 'squared'?"),
        (["--only", "poem"], "no kernel 'poem': one of squared\n"),
        (["--only", "squared", "--page", "kernels.md"], "give --only or --page"),
        (["--page", "/nowhere/kernels.md"], "cannot write '/nowhere/kernels.md'"),
    ],
)
def test_wrong_usage_is_answered(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_command_says_that_triton_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gangraph.cli.bench.find_spec", lambda _: None)
    assert main(["bench", "kernels"]) == 2
    assert "the kernels need Triton, which is not installed here" in capsys.readouterr().err


def test_the_interpreter_is_chosen_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert _prepared()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not _prepared()
