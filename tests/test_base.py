"""`base:`: a spec that says only what differs from another, shipped or beside it."""

import shutil
from pathlib import Path

import pytest

import gangraph
from gangraph.cli import main
from gangraph.errors import SpecError
from gangraph.language.document.copies import files_of
from gangraph.language.document.parse import Choice, parse, parse_text
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec, compile_phase
from gangraph.saved.find_checkpoint import numbered
from gangraph.session.run import run as start
from gangraph.views.code import code_text
from gangraph.views.explain.story import explain_text
from gangraph.views.text import spec_text
from tests.support import trainer
from tests.test_resume import assert_same_checkpoints

NETWORK = "{inputs: x, params: {width: 4}, layers: 'linear(width), %s, linear(2)'}\n"
BASE = """
gangraph: 1
name: below
about: two small networks
paper: {title: Small Things, year: 2020}
default_profile: quick
params: {width: 4, rate: 0.1}
data: {x: plane(std=0.3), z: normal(2)}
networks:
  G: wide(width=width)
  D: {inputs: x, layers: "linear(width), tanh, linear(1)"}
values: {fake: G(z), size: norm(fake)}
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
  weight: 0.1 * mean(size)
train:
  batch: 4
  length: 6 steps
  optimizers: {g: "adam(G, lr=1e-2)", d: "sgd(D, lr=rate)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool + weight}]
evaluate: {samples: 4, grid: [fake], metrics: {spread: mean(size)}}
profiles:
  quick: {rate: 0.2, variants: {slow: {claims: [{say: slower, check: spread < 1}]}}}
variants:
  slow: {rate: 0.01}
claims: [{say: it spreads, check: spread > 0}]
reported: [{say: so far, metric: spread, values: {full: 1}}]
"""
OVER = """
gangraph: 1
base: sub/below.yaml
name: above
width: 6
networks: {D: {layers: "linear(width), relu, linear(1)"}}
values: {near: x + 0.1 * normal(2)}
losses: {judge: "logistic.critic(real=D(near), fake=D(fake))", weight: 0}
train: {batch: 5, step: [{update: g, minimize: fool}, {update: d, minimize: judge, times: 2}]}
evaluate: {metrics: {far: mean(fake)}}
profiles: {tiny: {width: 2}}
variants: {slow: {train: {batch: 3}}, twice: {width: 12}}
"""
WHOLE = """
gangraph: 1
name: whole
default_profile: quick
params: {width: 6, rate: 0.1}
data: {x: plane(std=0.3), z: normal(2)}
networks:
  G: wide(width=width)
  D: {inputs: x, layers: "linear(width), relu, linear(1)"}
values: {fake: G(z), size: norm(fake), near: x + 0.1 * normal(2)}
losses:
  judge: logistic.critic(real=D(near), fake=D(fake))
  fool: logistic.generator(D(fake))
  weight: 0
train:
  batch: 5
  length: 6 steps
  optimizers: {g: "adam(G, lr=1e-2)", d: "sgd(D, lr=rate)"}
  step: [{update: g, minimize: fool}, {update: d, minimize: judge, times: 2}]
evaluate: {samples: 4, grid: [fake], metrics: {spread: mean(size), far: mean(fake)}}
profiles:
  quick: {rate: 0.2}
  tiny: {width: 2}
variants:
  slow: {rate: 0.01, train: {batch: 3}}
  twice: {width: 12}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`above.yaml` over `sub/below.yaml`, which calls a network that lies beside it, and the same written in full."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub" / "networks").mkdir(parents=True)
    (tmp_path / "sub" / "networks" / "wide.yaml").write_text(NETWORK % "tanh")
    (tmp_path / "sub" / "below.yaml").write_text(BASE)
    (tmp_path / "sub" / "whole.yaml").write_text(WHOLE)
    (tmp_path / "above.yaml").write_text(OVER)
    return tmp_path


def read(path: str = "above.yaml", profile: str | None = None, variant: str | None = None) -> Spec:
    return resolve(parse(path), Choice(profile, variant))


def prints(spec: Spec) -> list[str]:
    return [fingerprint(spec), *map(evaluation_fingerprint, spec.phases)]


@pytest.mark.parametrize("profile", ["paper", "quick", "tiny"])
@pytest.mark.parametrize("variant", [None, "slow", "twice", "slow,twice"])
def test_a_spec_over_a_base_is_the_spec_that_is_written_in_full(profile: str, variant: str | None) -> None:
    above, whole = read(profile=profile, variant=variant), read("sub/whole.yaml", profile, variant)
    assert prints(above) == prints(whole)
    assert prints(above) != prints(read("sub/below.yaml", "quick", "slow"))
    codes = [[code_text(compile_phase(phase), title="") for phase in check_spec(spec)] for spec in (above, whole)]
    assert codes[0] == codes[1]


def test_it_trains_as_the_spec_that_is_written_in_full_does_to_the_bit() -> None:
    above, whole = (trainer(read(path)) for path in ("above.yaml", "sub/whole.yaml"))
    assert above.train(steps=6) == whole.train(steps=6)


def test_a_base_hands_on_its_paper_and_overlays_and_not_what_it_claims_of_itself() -> None:
    spec = read(variant="slow")
    assert (spec.name, spec.about, spec.claims, spec.reported) == ("above", "", (), ())
    assert spec.paper is not None and spec.paper.title == "Small Things"
    assert (spec.profiles, spec.variants, spec.profile) == (("quick", "tiny"), ("slow", "twice"), "quick")
    assert spec.base == "sub/below.yaml"


def test_claims_of_its_own_are_kept(folder: Path) -> None:
    (folder / "above.yaml").write_text(OVER + "claims: [{say: far, check: 'far[slow] < far[full]'}]\nabout: another\n")
    spec = read()
    assert [claim.say for claim in spec.claims] == ["far"] and spec.about == "another"
    check_spec(spec)


def test_none_removes_what_the_base_has(folder: Path) -> None:
    """Metrics, networks, sources, groups, overlays and whole sections."""
    (folder / "mine.yaml").write_text("""
gangraph: 1
base: sub/more.yaml
name: mine
data: {w: none}
networks: {E: none, H: none}
train: {optimizers: {h: none}}
evaluate: {metrics: {spread: none}, samplers: {walk: none}}
paper: none
variants: {slow: none}
profiles: {quick: none}
default_profile: none
""")
    more = BASE.replace("z: normal(2)", "z: normal(2), w: normal(3)").replace(
        'd: "sgd', 'h: "sgd(H, lr=rate)", d: "sgd'
    )
    more = more.replace("  G: wide", "  E: average(G, decay=0.9)\n  H: wide(width=1)\n  G: wide")
    (folder / "sub" / "more.yaml").write_text(more.replace("samples: 4", "samples: 4, samplers: {walk: {show: [x]}}"))
    spec = read("mine.yaml")
    (checked,) = check_spec(spec)
    assert checked.graph.evaluation is not None and not checked.graph.evaluation.metrics
    phase = spec.phases[0]
    assert ({*phase.data}, {*phase.networks}, {*phase.optimizers}) == ({"x", "z"}, {"G", "D"}, {"g", "d"})
    assert (spec.paper, spec.variants, spec.profiles, spec.profile) == (None, (), (), "paper")
    assert phase.evaluate is not None and not phase.evaluate.samplers


def test_a_network_beside_the_spec_stands_before_one_beside_its_base(folder: Path) -> None:
    before = prints(read())
    (folder / "networks").mkdir()
    (folder / "networks" / "wide.yaml").write_text(NETWORK % "relu")
    assert prints(read()) != before
    assert "relu" in spec_text(read())


def test_a_base_may_have_a_base_and_every_message_stands_in_its_own_file(folder: Path) -> None:
    (folder / "top.yaml").write_text("gangraph: 1\nbase: above.yaml\nname: top\nvalues: {near: x + nothing}\n")
    (folder / "sub" / "below.yaml").write_text(BASE.replace("norm(fake)", "norm(fakes)"))
    spec = read("top.yaml")
    assert [*spec.bases] == ["above.yaml", "sub/below.yaml"]
    with pytest.raises(SpecError) as error:
        check_spec(spec)
    assert [str(problem.span) for problem in error.value.problems] == ["sub/below.yaml:12:33", "top.yaml:4:20"]


def test_too_many_bases_are_refused(folder: Path) -> None:
    for number in range(10):
        text = f"gangraph: 1\nbase: b{number + 1}.yaml\nname: b{number}\n"
        (folder / f"b{number}.yaml").write_text(text if number < 9 else WHOLE)
    assert read("b1.yaml", variant="slow").phases[0].batch == 3
    with pytest.raises(SpecError, match="GG208: there are too many bases"):
        read("b0.yaml")


def test_another_version_of_the_language_is_told_where_it_stands(folder: Path) -> None:
    (folder / "sub" / "below.yaml").write_text(BASE.replace("gangraph: 1", "gangraph: 2"))
    problems = parse("above.yaml").problems
    assert [(problem.code, problem.span.text.name) for problem in problems] == [("GG206", "sub/below.yaml")]


def test_nothing_of_a_file_that_is_no_spec_is_shown(folder: Path) -> None:
    (folder / "secret.yaml").write_text("hush: hush")
    (folder / "above.yaml").write_text("gangraph: 1\nname: above\nbase: secret.yaml\n")
    with pytest.raises(SpecError, match="GG450") as error:
        read()
    assert "hush" not in str(error.value)


def test_views_say_what_it_is_laid_over() -> None:
    spec = read()
    assert "# laid over sub/below.yaml" in spec_text(spec)
    plans = [compile_phase(phase).plan for phase in check_spec(spec)]
    assert "It is sub/below.yaml but for what its own file says." in explain_text(spec, plans)


def test_copies_are_enough_without_any_of_the_files(folder: Path) -> None:
    spec = read()
    copies = files_of(spec)
    assert [*copies] == ["networks/wide.yaml", "sub/below.yaml"]
    shutil.rmtree(folder / "sub")
    again = resolve(parse_text(OVER, origin=folder, copies=copies))
    assert prints(again) == prints(spec) and files_of(again) == copies


def test_a_shipped_base_is_copied_too_so_that_another_version_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine.yaml").write_text("gangraph: 1\nbase: cyclegan\nname: mine\nparams: {filters: 2}\n")
    spec = read("mine.yaml", "paper")
    copies = files_of(spec)
    assert spec.base == "cyclegan" and "shipped/cyclegan.yaml" in copies
    monkeypatch.setattr("gangraph.language.document.library.shipped", lambda folder="": {})
    assert prints(resolve(parse_text(spec.text, copies=copies), Choice("paper"))) == prints(spec)


def test_an_evaluator_may_have_a_base(folder: Path) -> None:
    (folder / "judges").mkdir()
    shutil.move(folder / "sub", folder / "judges" / "sub")
    shutil.move(folder / "above.yaml", folder / "judges" / "above.yaml")
    called = """evaluate: {networks: {J: 'trained("judges/above", network="D")'}, results: {away: mean(J(fake))}}"""
    whole = WHOLE.replace("wide(", "mlp(outputs=2, ").replace("width=width", "widths=[width]")
    (folder / "main.yaml").write_text(whole[: whole.index("evaluate:")] + called)
    spec = resolve(parse("main.yaml"), Choice("paper"))
    copies = files_of(spec)
    assert {"judges/above.yaml", "judges/sub/below.yaml", "judges/networks/wide.yaml"} <= {*copies}
    shutil.rmtree(folder / "judges")
    again = resolve(parse_text(spec.text, origin=folder, copies=copies), Choice("paper"))
    check_spec(again)
    assert prints(again) == prints(spec)


def test_a_run_goes_on_to_the_bit_when_spec_and_base_are_gone(folder: Path) -> None:
    start(read(), out=folder / "straight", device="cpu", steps=6)
    start(read(), out=folder / "run", device="cpu", steps=3)
    assert main(["check", "run/spec.yaml"]) == 0
    shutil.rmtree(folder / "sub")
    (folder / "above.yaml").unlink()
    shutil.move(folder / "run", folder / "moved")
    assert main(["run", "--resume", "moved", "--device", "cpu"]) == 0
    assert_same_checkpoints(numbered(folder / "straight")[-1], numbered(folder / "moved")[-1])


def test_a_run_goes_on_by_a_base_that_was_edited_or_by_its_copy_of_one_that_is_gone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(read(), out=folder / "run", device="cpu", steps=3)
    resumed = ["run", "above.yaml", "--resume", "run", "--device", "cpu", "--steps"]
    (folder / "sub" / "below.yaml").write_text(BASE.replace("rate: 0.2", "rate: 0.3"))
    assert main([*resumed, "4"]) == 0
    assert "0.3" in capsys.readouterr().out
    shutil.rmtree(folder / "sub")
    assert main([*resumed, "5"]) == 0
    (folder / "above.yaml").write_text(OVER.replace("sub/below.yaml", "sub/other.yaml"))
    assert main([*resumed, "6"]) == 1
    assert "GG207: there is no such base" in capsys.readouterr().err


def test_what_differs_from_the_base_is_what_diff_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "sub/below.yaml", "above.yaml"]) == 0
    assert "times" in capsys.readouterr().out
    assert main(["diff", "sub/whole.yaml", "above.yaml"]) == 0
    assert "no difference in the mathematics" in capsys.readouterr().out


def test_a_shipped_spec_with_nothing_laid_over_it_is_itself(folder: Path) -> None:
    for name in ("gan", "cyclegan", "progan", "infogan"):
        (folder / "same.yaml").write_text(f"gangraph: 1\nbase: {name}\nname: same\n")
        for profile in ("paper", "quick"):
            spec = read("same.yaml", profile)
            assert prints(spec) == prints(gangraph.load(name, profile=profile)), name
            assert not spec.problems


def test_a_profile_of_the_base_that_overrules_is_told_only_where_it_does(folder: Path) -> None:
    (folder / "above.yaml").write_text(OVER + "params: {rate: 0.5}\n")
    assert [problem.code for problem in read().problems] == ["GG645"]
    assert not read(profile="paper").problems
    (folder / "above.yaml").write_text(
        OVER.replace("profiles: {", "profiles: {quick: {rate: 0.2}, ") + "params: {rate: 0.5}\n"
    )
    assert not read().problems


@pytest.mark.parametrize(
    "path",
    [
        "data.u", "networks.H", "variables.w", "values.y", "losses.k", "state.s", "train.optimizers.h",
        "evaluate.data.e", "evaluate.values.v", "evaluate.metrics.m", "evaluate.results.r",
    ],
)  # fmt: skip
def test_none_removes_what_has_a_name(path: str) -> None:
    left = "none"
    for part in reversed(path.split(".")):
        left = f"{{{part}: {left}}}"
    spec = resolve(parse_text(f"""
gangraph: 1
name: names
data: {{x: normal(2), z: normal(2), u: normal(3)}}
networks: {{G: {{inputs: z, layers: [linear(2)]}}, H: {{inputs: z, layers: [linear(2)]}}}}
variables: {{w: "[1.0, 2.0]"}}
values: {{fake: G(z), y: 2 * x}}
losses: {{l: mean(fake), k: mean(x)}}
state: {{s: {{start: 0, next: 0.5 * s}}}}
train:
  batch: 4
  length: 3 steps
  optimizers: {{g: "sgd(G, lr=0.1)", h: "sgd(H, lr=0.1)"}}
  step: [{{update: g, minimize: l}}]
evaluate:
  samples: 8
  result_samples: 8
  data: {{e: normal(2)}}
  values: {{v: G(z)}}
  metrics: {{m: mean(fake)}}
  results: {{r: mean(fake)}}
variants: {{less: {left}}}
"""), Choice(variant="less"))  # fmt: skip
    check_spec(spec)
    (phase,) = spec.phases
    assert phase.evaluate is not None
    of_training = (
        phase.data,
        phase.networks,
        phase.variables,
        phase.values,
        phase.losses,
        phase.states,
        phase.optimizers,
    )
    seen = (phase.evaluate.data, phase.evaluate.values, phase.evaluate.metrics, phase.evaluate.results)
    assert path.rpartition(".")[2] not in {name for names in (*of_training, *seen) for name in names}
