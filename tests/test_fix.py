"""`gangraph check --fix`: what can be meant in one way only is written, and nothing else is touched."""

import stat
from pathlib import Path

import pytest

from gangraph.cli import main
from gangraph.cli.fix import fixed_text
from gangraph.errors import Problem, Renaming, Span, SpecError, Text, nearest
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve
from gangraph.pipeline import check_spec

ROOT = Path(__file__).parent.parent
GOLDEN = sorted((ROOT / "tests/errors").glob("*.yaml"))
SPEC = """\
# a spec with slips
gangraph: 1
name: slips
let: {rate: 1e-3}
data: {x: plane(std=0.1), z: normal(2)}   # two numbers
networks: {G: "mlp(widths=[4], outputs=2)", D: "mlp(widths=[4])"}
values:
    fake:   G(z)   # as it is laid out
losses: {judge: logistic.critic(real=D(x), fake=D(faek)), fool: logistic.generator(D(faek))}
train:
  batch: 4
  lenght: 10 steps
  optimizers: {g: "adam(G, lr=rate)", d: "adam(D, lr=rate)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
variants: {slow: {rate: 1e-4}}
"""
FIXED = """\
# a spec with slips
gangraph: 1
name: slips
let: {rate: 1e-3}
data: {x: plane(std=0.1), z: normal(2)}   # two numbers
networks: {G: "mlp(widths=[4], outputs=2)", D: "mlp(widths=[4])"}
values:
    fake:   G(z)   # as it is laid out
losses: {judge: "logistic.critic(real=D(x), fake=D(fake))", fool: logistic.generator(D(fake))}
train:
  batch: 4
  length: 10 steps
  optimizers: {g: "adam(G, lr=rate)", d: "adam(D, lr=rate)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
variants: {slow: {let: {rate: 1e-4}}}
"""


def problems(text: str, name: str, folder: Path) -> tuple[Problem, ...]:
    try:
        phases = check_spec(resolve(parse_text(text, name=name, origin=folder), Choice("paper")))
    except SpecError as error:
        return error.problems
    return tuple(lint for phase in phases for lint in phase.lints)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_can_be_fixed_is_gone_afterwards(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, text = str(path.relative_to(ROOT)), path.read_text()
    fixable = [each for each in problems(text, name, path.parent) if each.edit and each.edit.span.text.name == name]
    if not fixable:
        return
    fixed = fixed_text(text, name, path.parent, Choice("paper"))
    left = {(each.code, each.message, each.found) for each in problems(fixed, name, path.parent)}
    assert not left & {(each.code, each.message, each.found) for each in fixable}
    assert fixed.count("\n") == text.count("\n")
    assert fixed_text(fixed, name, path.parent, Choice("paper")) == fixed


def test_some_of_the_broken_specs_can_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names = ("unknown_key", "unknown_value", "unknown_network")
    for path in (ROOT / f"tests/errors/{name}.yaml" for name in names):
        assert fixed_text(path.read_text(), path.name, path.parent, Choice("paper")) != path.read_text(), path.stem


def test_a_file_is_fixed_in_place_and_the_rest_of_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "slips.yaml"
    path.write_text(SPEC)
    path.chmod(0o640)
    assert main(["check", "slips.yaml", "--fix"]) == 0
    said = capsys.readouterr()
    assert path.read_text() == FIXED
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and [each.name for each in tmp_path.iterdir()] == ["slips.yaml"]
    assert "-  lenght: 10 steps\n+  length: 10 steps\n" in said.err
    assert "no errors" in said.out
    assert main(["check", "slips.yaml", "--fix"]) == 0
    assert "slips.yaml: nothing that can be fixed in one way only" in capsys.readouterr().err


def test_what_is_left_is_told_and_lines_keep_their_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slips.yaml"
    path.write_bytes(SPEC.replace("batch: 4", "batch: 0").replace("\n", "\r\n").encode())
    assert main(["check", str(path), "--fix"]) == 1
    assert "GG225" in capsys.readouterr().err
    assert path.read_bytes() == FIXED.replace("batch: 4", "batch: 0").replace("\n", "\r\n").encode()


def test_a_shipped_spec_is_never_changed(capsys: pytest.CaptureFixture[str]) -> None:
    before = (ROOT / "specs/gan.yaml").read_text()
    assert main(["check", "gan", "--fix"]) == 2
    assert "gangraph new mine --from gan copies it" in capsys.readouterr().err
    assert (ROOT / "specs/gan.yaml").read_text() == before


def test_a_name_between_two_that_are_as_near_is_not_chosen() -> None:
    assert not isinstance(nearest("judge_z", ["judge_x", "judge_y"]), Renaming)
    assert nearest("judge", ["judge", "judges"]) == ""
    near = nearest("jugde", ["judge", "fool"])
    assert isinstance(near, Renaming) and near == "did you mean 'judge'?"
    text = Text("a", "jugde + jugde")

    assert near.edit(Span(text, 0, 13)) is None and near.edit(Span(text, 8, 13)) is not None


@pytest.mark.parametrize(
    ("flow", "fixed"),
    [
        ("{a: f(x, y), b: g(x)}", '{a: "f(x, y)", b: g(x)}'),
        ("{a: f('x', g(1, 2)), b: 1}", "{a: \"f('x', g(1, 2))\", b: 1}"),
        ('{a: f("x", y)}', "{a: 'f(\"x\", y)'}"),
        ("{a: f(\"x\", 'y')}", None),
    ],
)
def test_quotes_go_around_the_whole_expression(flow: str, fixed: str | None) -> None:
    with pytest.raises(SpecError) as error:
        parse_text(f"values: {flow}\n")
    edits = [each.edit for each in error.value.problems if each.edit]
    assert bool(edits) == (fixed is not None)
    if edits and edits[0]:
        span, text = edits[0].span, f"values: {flow}"
        assert text[: span.start] + edits[0].replacement + text[span.end :] == f"values: {fixed}"


def test_an_output_of_a_network_is_that_of_its_only_call_and_an_older_name_is_replaced() -> None:
    text = (
        SPEC.replace("D(faek)", "D(fake)")
        .replace("lenght", "length")
        .replace('D: "mlp(widths=[4])"', 'D: {inputs: x, layers: "linear(3), linear(1)", outputs: {h: layers(x)}}')
        .replace("{judge: logistic.critic(real=D(x), fake=D(fake)), ", '{judge: "mean(D.h) + mean(held(fake))", ')
    )
    fixed = fixed_text(text, "slips.yaml", None, Choice("paper"))
    assert 'judge: "mean(D(fake).h) + mean(at_first(fake))"' in fixed
    several = text.replace('+ mean(held(fake))"', '+ mean(D(x))"')
    assert "mean(D.h)" in fixed_text(several, "slips.yaml", None, Choice("paper"))
