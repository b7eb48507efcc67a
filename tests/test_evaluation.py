"""What is evaluated and measured: sets of samples, protocols, named grids, and the file of results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gangraph
from gangraph.cli import main
from gangraph.data.digits import Digits
from gangraph.data.world.plane import Plane
from gangraph.errors import RunError, SpecError, UsageError, WeightsError
from gangraph.evaluate.pictures import picture
from gangraph.folder.results import evaluators_in, facts_text, read_results
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.spec import Spec
from gangraph.registry import metric, vocabulary
from gangraph.session.run import measure_now, measure_run, run
from gangraph.session.session import Session
from tests.support import TINY, load, read, small, trainer


@pytest.fixture
def metrics() -> Iterator[dict[str, Any]]:
    """Metrics that see sets: `spans` counts what it is given, `needy` has no weights until `found` is set."""
    seen: dict[str, Any] = {"calls": [], "found": False}

    def expects(x: Tensor, y: Tensor, least: int = 2) -> None:
        if len(x) < least:
            raise ValueError(f"found {len(x)} samples, expected at least {least}")

    @metric("set_distance", expects=expects, protocol=lambda least: {"statistic": "mean", "least": least})
    def set_distance(x: Tensor, y: Tensor, least: int = 2) -> Tensor:
        """|mean x - mean y|."""
        seen["calls"].append((x.shape, x.dtype))
        if x.isnan().any():
            raise ValueError("found NaN, expected numbers")
        return (x.mean() - y.mean()).abs()

    @metric("needy", expects=lambda x: None)
    def needy(x: Tensor) -> Tensor:
        """The number of samples, given weights."""
        if not seen["found"]:
            raise WeightsError("needy.safetensors is missing")
        return torch.tensor(float(len(x)))

    yield seen
    for name in ("set_distance", "needy"):
        del vocabulary._definitions[name]


def measured(evaluate: str, **parts: str) -> gangraph.Trainer:
    return trainer(small(evaluate=f"evaluate:\n{evaluate}", **parts), precision="fp32")


# Sets of samples


def test_a_result_is_the_number_of_all_samples_whatever_the_batch() -> None:
    text = (
        "  samples: {}\n  result_samples: 60\n  data: {{x: 'plane(std=0.3, count=60)'}}\n"
        "  results: {{critic: mean(D(x)), spread: 'mean((x - mean(x)) ** 2)', slope: 'mean(norm(grad(D(x), x)))'}}"
    )
    in_parts, at_once = (measure_now(measured(text.format(samples))) for samples in (7, 60))
    assert {name: m.protocol["batch"] for name, m in in_parts.items()} == dict.fromkeys(in_parts, 7)
    for name, found in in_parts.items():
        assert found.protocol["samples"] == 60
        assert found.value == pytest.approx(at_once[name].value, rel=1e-5), name


def test_every_batch_of_a_result_has_other_draws_and_every_measurement_the_same() -> None:
    text = "  samples: 8\n  result_samples: {}\n  results: {{power: mean(fake ** 2)}}"
    few, many = measured(text.format(8)), measured(text.format(4000))
    look = measured("  samples: 8\n  metrics: {power: mean(fake ** 2)}").evaluate()
    assert look is not None
    first = measure_now(few)["power"]
    assert first.value == pytest.approx(look.metrics["power"], rel=1e-6)
    assert measure_now(few)["power"] == first
    generator = many.networks["G"].eval()
    with torch.no_grad():
        expected = generator(torch.randn(20000, 2, generator=torch.Generator().manual_seed(1))).square().mean()
    assert measure_now(many)["power"].value == pytest.approx(float(expected), rel=0.1)
    assert abs(first.value or 0) != pytest.approx(float(expected), rel=1e-3)


def test_no_sample_of_a_stream_is_used_twice_and_random_sources_are_endless() -> None:
    data = "  data: {x: 'plane(std=0.3, count=30)'}\n"
    found = measure_now(measured(f"{data}  result_samples: 100\n  results: {{b: mean(fake)}}"))
    assert found["b"].protocol["samples"] == 100
    both = measure_now(measured(f"{data}  samples: 7\n  result_samples: 100\n  results: {{a: mean(x), b: mean(fake)}}"))
    assert [m.protocol["samples"] for m in both.values()] == [30, 100]
    x = Plane(std=0.3, count=30).open().batch(range(30), torch.Generator())["value"]
    assert both["a"].value == pytest.approx(float(x.mean()), rel=1e-5)
    found = measure_now(measured(f"{data}  mode: train\n  samples: 8\n  results: {{a: mean(D(x))}}"))
    assert found["a"].protocol["samples"] == 24  # whole batches


@pytest.mark.parametrize(("mode", "counts"), [("eval", [1257, 270]), ("train", [1250, 250])])
def test_sets_that_a_metric_takes_apart_have_samples_of_their_own(mode: str, counts: list[int]) -> None:
    data = "  data: {known: digits(), unseen: 'digits(split=\"test\")'}\n"
    values = "  values: {a: flatten(known.image), b: flatten(unseen.image)}\n"
    results = "  results: {near: 'nearest_neighbour_accuracy(a, known.label, b, unseen.label)', mean: mean(b)}"
    found = measure_now(measured(f"{data}{values}  mode: {mode}\n  samples: 50\n  result_samples: 2000\n{results}"))
    near = found["near"]
    assert near.protocol["sets"] == dict(zip(("train_features", "test_features"), counts, strict=True))
    assert near.protocol["samples"] == found["mean"].protocol["samples"] == counts[1]
    assert "sets" not in found["mean"].protocol
    assert "sets (train_features 1" in facts_text(near.protocol)
    known, unseen = (Digits(split=split).open() for split in ("train", "test"))
    if mode == "eval":
        (x, y), (other, label) = ((d.images.flatten(1).double(), d.labels) for d in (known, unseen))
        expected = (y[torch.cdist(other, x).argmin(1)] == label).float().mean()
        assert near.value == pytest.approx(float(expected), abs=1 / 270)


def test_sets_that_share_a_value_and_what_is_computed_beside_them_have_as_many() -> None:
    data = "  data: {x: 'plane(std=0.3, count=30)', y: 'plane(std=0.3, count=20)'}\n  result_samples: 50\n"
    wide = "parzen({}, y, {}, sigmas=[0.3])"
    results = {
        "apart": wide.format("fake", "x"),
        "shared": wide.format("x", "x"),
        "beside": f"{wide.format('fake', 'x')} + mean(fake - x)",
        "paired": "mean_absolute_error(fake, x)",
    }
    written = "".join(f"    {name}: {text}\n" for name, text in results.items())
    found = {name: m.protocol for name, m in measure_now(measured(f"{data}  results:\n{written}")).items()}
    assert {name: facts["samples"] for name, facts in found.items()} == {
        "apart": 20, "shared": 20, "beside": 20, "paired": 30,
    }  # fmt: skip
    assert found["apart"]["sets"] == {"samples": 50, "test": 20, "validation": 30}
    assert found["shared"]["sets"] == {"samples": 30, "test": 20, "validation": 30}
    assert found["beside"]["sets"] == {"samples": 30, "test": 20, "validation": 30}


def test_an_op_that_one_number_reads_and_a_network_too_is_computed_for_that_number_only() -> None:
    values = "  values: {code: 2 * tanh(D(x)), back: D(code)}\n"
    run_ = measured(
        f"{values}  samples: 7\n  result_samples: 50\n  results: {{a: mean(back), b: 'parzen(code, code, fake)'}}",
        networks_d="{inputs: x, layers: 'linear(3), relu, linear(2)'}",
        judge="mean(D(x) - D(fake))",
        fool="mean(D(fake))",
    )
    both, alone = measure_now(run_), measure_now(run_, ["a"])
    assert both["a"] == alone["a"]
    assert both["b"].value is not None


def test_metrics_are_measured_again_over_many_samples() -> None:
    run_ = measured("  samples: 4\n  result_samples: 40\n  metrics: {a: mean(x)}\n  results: {b: mean(x)}")
    found, look = measure_now(run_), run_.evaluate()
    assert look is not None and look.metrics.keys() == {"a"}
    assert found["a"].value == found["b"].value != look.metrics["a"]


def test_measuring_changes_nothing_in_a_run() -> None:
    evaluate = "  samples: 4\n  result_samples: 10\n  mode: train\n  results: {a: mean(D(fake))}"
    layers = "{inputs: x, layers: 'linear(6), batch_norm, relu, dropout(0.5), linear(1)'}"
    watched, alone = measured(evaluate, networks_d=layers), measured(evaluate, networks_d=layers)
    for _ in range(2):
        assert measure_now(watched)["a"].value is not None
        assert watched.step() == alone.step()


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_network_without_parameters_draws_in_an_evaluation(precision: str) -> None:
    noisy = "  N: {inputs: x, layers: gaussian_noise(0.1)}"
    evaluate = "evaluate:\n  mode: train\n  samples: 4\n  grid: [x, N(x)]\n  results: {far: 'l1(N(x), x)'}"
    run_ = trainer(small(more_networks=noisy, evaluate=evaluate), precision=precision)
    looks = [run_.evaluate() for _ in range(2)]
    assert looks[0] is not None and looks[1] is not None
    x, noise = looks[0].grid["x"], looks[0].grid["N(x)"] - looks[0].grid["x"]
    assert noise.dtype == x.dtype and 0.01 < float(noise.abs().mean()) < 0.3
    assert torch.equal(looks[0].grid["N(x)"], looks[1].grid["N(x)"])
    assert measure_now(run_)["far"].value is not None


def test_a_number_that_is_not_finite_is_none_and_says_why() -> None:
    found = measure_now(measured("  results: {odd: 'mean(log(x - x - 1))'}"))
    assert found["odd"].value is None
    assert "not finite" in found["odd"].why
    json.dumps(found["odd"].protocol, allow_nan=False)


# Metrics with traits


def test_a_metric_that_expects_sets_sees_all_samples_in_float32(metrics: dict[str, Any]) -> None:
    run_ = measured("  samples: 8\n  result_samples: 50\n  results: {d: 'set_distance(x, fake, least=40)'}")
    found = measure_now(run_)["d"]
    assert metrics["calls"] == [((50, 2), torch.float32)]
    assert found.protocol["statistic"] == "mean" and found.protocol["least"] == 40
    assert (found.protocol["mode"], found.protocol["seed"], found.protocol["step"]) == ("eval", 0, 0)


def test_constants_that_change_a_number_are_facts_of_it() -> None:
    results = "{spread: 'covered_modes(fake, x, radius=0.25)', slices: 'sliced_wasserstein(x, fake, seed=7)'}"
    found = measure_now(measured(f"  samples: 8\n  result_samples: 16\n  results: {results}"))
    assert found["spread"].protocol["radius"] == 0.25
    slices = found["slices"].protocol
    assert (slices["directions"], slices["order"]) == (128, 1)
    assert (slices["sliced_wasserstein_seed"], slices["seed"]) == (7, 0)


def test_facts_in_which_metrics_of_one_result_differ_are_all_kept() -> None:
    near, far = (f"covered_modes(fake, x, radius={radius})" for radius in (0.25, 4))
    share = "high_quality_share(fake, x, std=0.3, within=2)"
    found = measure_now(measured(f"  samples: 8\n  result_samples: 16\n  results: {{all: '{near} + {far} + {share}'}}"))
    protocol = found["all"].protocol
    assert (protocol["std"], protocol["within"]) == (0.3, 2)
    assert (protocol["covered_modes 1"], protocol["covered_modes 2"]) == ({"radius": 0.25}, {"radius": 4})
    assert facts_text(protocol) == (
        "16 samples, 8 at a time, share 0.0, std 0.3, within 2, "
        "covered_modes 1 (radius 0.25), covered_modes 2 (radius 4)"
    )
    assert not list(evaluators_in(protocol))


def test_a_metric_refuses_too_few_samples_before_anything_runs(metrics: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="found 8 samples, expected at least 40"):
        measured("  samples: 8\n  metrics: {d: 'set_distance(x, fake, least=40)'}")
    assert metrics["calls"] == []


def test_a_metric_in_a_look_stands_apart_and_others_keep_their_numbers(metrics: dict[str, Any]) -> None:
    plain = "  samples: 9\n  grid: [x, fake]\n  metrics: {a: mean(D(x))"
    both = trainer(small(evaluate=f"evaluate:\n{plain}, d: '2 * set_distance(x, fake)'}}")).evaluate()
    alone = trainer(small(evaluate=f"evaluate:\n{plain}}}")).evaluate()
    assert both is not None and alone is not None
    assert both.metrics["a"] == alone.metrics["a"]
    apart = abs(float(both.grid["x"].mean() - both.grid["fake"].mean()))
    assert both.metrics["d"] == pytest.approx(2 * apart, rel=1e-5)
    assert metrics["calls"] == [((9, 2), torch.float32)]


def test_a_metric_that_refuses_its_values_is_named_with_its_line(metrics: dict[str, Any]) -> None:
    run_ = measured("  results:\n    d: set_distance(log(x - 100), fake)")
    with pytest.raises(RunError, match=r"spec:\d+:8: 'set_distance' cannot measure its values: found NaN"):
        measure_now(run_)


def test_missing_weights_leave_a_metric_out_and_say_so_once(
    metrics: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = "evaluate:\n  every: 1 steps\n  metrics: {n: 2 * needy(x), a: mean(x)}\n  results: {r: needy(fake)}"
    folder = run(small(evaluate=evaluate, length="  length: 3 steps"), out=tmp_path / "run", device="cpu")
    text = capsys.readouterr().out
    assert text.count("metric 'n' is left out: needy.safetensors is missing") == 1
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {tuple(line["metrics"]) for line in lines} == {("a",)}
    before = read_results(folder)
    assert before is not None
    assert (before.results["r"].value, before.results["r"].why) == (None, "needy.safetensors is missing")
    assert before.results["a"].value is not None
    metrics["found"] = True
    after = measure_run(folder, device="cpu")
    assert after.results["r"].value == 1000 and after.results["n"].value == 2000
    assert after.results["a"] == before.results["a"]


# Grids


def test_images_of_different_sizes_stand_in_rows() -> None:
    small, middle, large = (torch.rand(2, 3, size, size, generator=torch.Generator()) for size in (8, 14, 32))
    shown = picture({"a": small, "b": middle, "c": large}, dict.fromkeys("abc", (0.0, 1.0)))
    assert shown is not None and shown.size == (3 * (96 + 4), 2 * (96 + 2) + 2 + 22)
    pixels = torch.frombuffer(bytearray(shown.tobytes()), dtype=torch.uint8).reshape(shown.height, shown.width, 3)
    for row in range(2):
        inside = pixels[22 + 2 + row * 98 :][:96]
        for column, image in enumerate((small, middle, large)):
            tile = inside[:, 2 + column * 100 :][:, :96]
            corner = (image[row, :, 0, 0] * 255).round().to(torch.uint8)
            assert (tile[: 96 // image.shape[-1], : 96 // image.shape[-1]] == corner).all()
        assert (pixels[22 + row * 98] == 255).all()


def test_named_grids_are_pictures_of_their_own(tmp_path: Path) -> None:
    evaluate = (
        "evaluate:\n  samples: 3\n  grid: {samples: [x, fake], walk: '[G(lerp(z, -1 * z, k / 4)) for k in 0..4]'}\n"
    )
    spec = small(evaluate=evaluate, length="  length: 1 steps")
    look = trainer(spec).evaluate()
    assert look is not None
    assert [len(columns) for columns in look.grids.values()] == [2, 5]
    walk = list(look.grids["walk"].values())
    assert torch.equal(look.grid["fake"], walk[0]) and not torch.equal(walk[0], walk[4])
    folder = run(spec, out=tmp_path / "run", device="cpu")
    names = {f"{step}{end}.png" for step in ("00000000", "00000001", "latest") for end in ("", "-walk")}
    assert {path.name for path in (folder / "samples").iterdir()} == names


def test_a_long_title_does_not_run_into_the_next_column() -> None:
    image, unit = torch.zeros(1, 3, 32, 32), (0.0, 1.0)
    long, short = (picture({name: image, "b": image}, {name: unit, "b": unit}) for name in ("a_long_name" * 9, ""))
    assert long is not None and short is not None and long.size == short.size
    right = (long.width // 2, 0, long.width, long.height)
    assert long.crop(right).tobytes() == short.crop(right).tobytes()
    assert long.tobytes() != short.tobytes()


# Runs


RESULTS = "evaluate:\n  samples: 4\n  result_samples: 20\n  metrics: {a: mean(x)}\n  results: {b: mean(D(fake))}"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return run(small(evaluate=RESULTS, length="  length: 3 steps"), out=tmp_path / "run", device="cpu")


def changed(evaluate: str = RESULTS, **parts: str) -> Spec:
    return small(evaluate=evaluate, **{"length": "  length: 3 steps", **parts})


def test_a_run_ends_with_its_results(finished: Path) -> None:
    found = read_results(finished)
    assert found is not None
    assert found.fingerprint == fingerprint(changed()) and found.step == 3
    assert found.results.keys() == {"a", "b"}
    trained = gangraph.Trainer.resume(finished / "checkpoints" / "step-00000003", device="cpu")
    assert found.results == measure_now(trained)


def test_a_run_that_is_measured_again_is_only_read(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_results(finished)
    asked: list[Any] = []
    monkeypatch.setattr("gangraph.session.run.measure_now", lambda trainer, names: asked.append(names) or {})
    assert measure_run(finished, device="cpu") == before
    assert asked == [[]]


def test_a_newer_evaluation_of_the_same_training_is_measured(finished: Path) -> None:
    newer = changed(RESULTS.replace("b: mean(D(fake))", "c: mean(fake ** 2)"))
    found = measure_run(finished, newer, device="cpu")
    assert found.results.keys() == {"a", "c"} and read_results(finished) == found
    again = measure_run(finished, device="cpu")
    assert again.results.keys() == {"a", "b"}


def test_another_training_is_refused(finished: Path) -> None:
    with pytest.raises(UsageError, match="trains something else"):
        measure_run(finished, changed(optimizer_g="sgd(G, lr=0.2)"))
    with pytest.raises(UsageError, match="there is no run"):
        measure_run(finished / "nowhere")


def test_a_run_that_is_stopped_early_has_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_finished", lambda self: setattr(self.stop, "asked", True) or False)
    folder = run(changed(), out=tmp_path / "run", device="cpu")
    assert (folder / "checkpoints" / "step-00000001").is_dir()
    assert read_results(folder) is None


def test_the_first_steps_of_a_longer_run_have_no_results_and_its_last_do(tmp_path: Path) -> None:
    spec = changed(length="  length: 4 steps")
    folder = run(spec, out=tmp_path / "run", device="cpu", steps=2)
    assert read_results(folder) is None
    run(spec, resume=folder, device="cpu", steps=4)
    found = read_results(folder)
    assert found is not None and found.step == 4
    endless = run(changed(length=""), out=tmp_path / "endless", device="cpu", steps=2)
    assert read_results(endless) is not None


ONE = '{"fingerprint": "a", "evaluation": "b", "step": 1, "results": {"far": {"value": 1, "why": "", "protocol": {}}}}'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (ONE, "{", "Expecting property name"),
        (ONE, "[" * 200_000, "it is nested too deeply"),
        (ONE, "[]", "it: found [], expected"),
        ('"value": 1', '"value": "x"', "results.far.value: found 'x', expected a valid number"),
        ('"value": 1', '"value": true', "results.far.value: found True"),
        ('"value": 1', '"value": NaN', "found NaN, expected a finite number"),
        ('"value": 1, ', "", "the key 'results.far.value' is missing"),
        ('"why": ""', '"why": null', "results.far.why: found None"),
        ('"protocol": {}', '"protocol": [1]', "results.far.protocol: found [1]"),
        ('"step": 1', '"step": "1"', "step: found '1'"),
        ('"step": 1', '"step": 1, "odd": 2', "there is no key 'odd'"),
    ],
)
def test_damaged_results_are_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(ONE)
    assert (found := read_results(tmp_path)) is not None and found.results["far"].value == 1
    path.write_text(ONE.replace(old, new))
    with pytest.raises(RunError) as raised:
        read_results(tmp_path)
    assert str(raised.value).startswith(f"'{path}' is damaged: {said}")
    assert str(raised.value).endswith("; remove it, and measure the run again")


def test_a_run_with_damaged_results_is_not_measured_over_them(finished: Path) -> None:
    (finished / "results.json").write_text("{")
    with pytest.raises(RunError, match=r"results\.json' is damaged"):
        measure_run(finished, device="cpu")


def test_command_measure_prints_a_table_and_json(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["measure", str(finished)]) == 0
    name, value, *facts = capsys.readouterr().out.splitlines()[0].split()
    found = read_results(finished)
    assert found is not None and name == "b"
    assert float(value) == pytest.approx(found.results["b"].value, rel=1e-3)
    assert " ".join(facts) == "20 samples, 4 at a time"
    assert main(["measure", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["a"]["protocol"]["samples"] == 20
    newer = tmp_path / "newer.yaml"
    newer.write_text(changed(RESULTS.replace("mean(D(fake))", "mean(D(x))").replace("b:", "c:")).text)
    assert main(["measure", str(finished), "--spec", str(newer)]) == 0
    assert capsys.readouterr().out.startswith("c ")
    assert main(["measure", str(tmp_path / "nowhere")]) == 2
    assert main(["measure", str(finished), "--weights", str(tmp_path / "nowhere")]) == 2
    assert "--weights takes a folder" in capsys.readouterr().err


# Fingerprints


def test_words_and_measurements_do_not_change_what_is_trained() -> None:
    first = fingerprint(changed())
    assert first == fingerprint(changed(evaluate=RESULTS.replace("mean(x)", "mean(fake)")))
    assert first == fingerprint(changed(evaluate=""))
    text = changed().text.replace("name: small", "name: other\nabout: the same   # a comment\nparams: {unused: 3}")
    assert first == fingerprint(read(text + "\nclaims:\n  - {say: less, check: 'a[full] < 1'}\n"))
    assert len(first) == 16 and set(first) <= set("0123456789abcdef")


def test_a_value_that_no_update_reads_still_numbers_the_draws() -> None:
    assert fingerprint(changed()) != fingerprint(changed(more_values="  unused: G(2 * z)"))


@pytest.mark.parametrize(
    "parts",
    [
        {"optimizer_g": "sgd(G, lr=0.2)"},
        {"networks_g": "mlp(widths=[5], outputs=2, activation=tanh)"},
        {"batch": "5"},
        {"length": "  length: 4 steps"},
        {"fool": "minimax.generator(D(fake))"},
        {"more_networks": "  slow: average(G, decay=0.9)"},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_whatever_training_depends_on_changes_the_fingerprint(parts: dict[str, str]) -> None:
    assert fingerprint(changed(**parts)) != fingerprint(changed())


def test_a_data_option_and_the_order_of_updates_change_the_fingerprint() -> None:
    text = changed().text
    assert fingerprint(read(text.replace("plane(std=0.3)", "plane(std=0.4)"))) != fingerprint(changed())
    swapped = small(
        "{update: g, minimize: fool}", "{update: d, minimize: judge}", evaluate=RESULTS, length="  length: 3 steps"
    )
    assert fingerprint(swapped) != fingerprint(changed())


@pytest.mark.parametrize("name", TINY)
def test_what_is_written_as_a_profile_or_as_settings_is_the_same(name: str) -> None:
    spec = load(name)
    plain = {**TINY[name]}
    assert fingerprint(spec) == fingerprint(gangraph.load(name, profile="quick", set=plain))
    assert fingerprint(spec) != fingerprint(gangraph.load(name, profile="quick"))


def test_a_profile_that_changes_a_param_equals_the_setting() -> None:
    text = "params: {rate: 0.1}\nprofiles: {fast: {rate: 0.2}}\n"
    path = changed(optimizer_g="sgd(G, lr=rate)").text.replace("data:\n", f"{text}data:\n", 1)
    from gangraph.language.document.parse import Choice, parse_text
    from gangraph.language.resolve.document import resolve

    document = parse_text(path)
    by_profile, by_setting = Choice(profile="fast"), Choice(set={"params.rate": "0.2"})
    assert fingerprint(resolve(document, by_profile)) == fingerprint(resolve(document, by_setting))
    assert fingerprint(resolve(document, by_profile)) != fingerprint(resolve(document))


def test_an_evaluation_changes_with_what_is_measured_only() -> None:
    (phase,) = changed().phases
    same, other, more = (
        changed(RESULTS.replace(*pair)).phases[0]
        for pair in (("evaluate:", "evaluate:\n  grid: [x]"), ("20", "30"), ("mean(x)", "mean(x - 1)"))
    )
    assert evaluation_fingerprint(same) == evaluation_fingerprint(phase)
    assert len({evaluation_fingerprint(p) for p in (phase, other, more)}) == 3
