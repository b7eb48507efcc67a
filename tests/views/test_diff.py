"""What `diff` says of two specs. `GANGRAPH_GOLDEN=1 pytest tests/views` rewrites the golden files."""

from pathlib import Path

import pytest
from readings import SYSTEMS, golden, shipped_form

from gangraph.cli import main
from gangraph.language.document.parse import Choice, parse
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.views.diff import SAME, Difference, compare_specs, diff_text, differences
from tests.support import read, small


def said(first: Spec, second: Spec) -> list[str]:
    return [str(each) for each in differences(first, second)]


@pytest.mark.parametrize("name", SYSTEMS)
def test_how_the_quick_profile_differs_from_the_paper(name: str) -> None:
    (paper, ours), (quick, theirs) = shipped_form(name, "paper"), shipped_form(name)
    text = diff_text(paper, quick, compare_specs(paper, quick, (ours, theirs)))
    assert text == golden(f"{name}.diff.txt", text)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_spec_does_not_differ_from_itself(name: str) -> None:
    spec, phases = shipped_form(name)
    assert differences(spec, spec, (phases, phases)) == ()


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("cyclegan", "cycle_only", [
            "fool is gone; it was least_squares.generator(D_y(fake_y)) + least_squares.generator(D_x(fake_x))",
            "identity is gone; it was 5 * l1(G(y), y) + 5 * l1(F(x), x)",
        ]),
        ("gan", "sequential", [
            "the order of updates was discriminator and generator at once, and is now discriminator, then generator",
            "what update generator draws anew was nothing, and is now z",
        ]),
        ("pix2pix", "gan_only", [
            "the size of D was 169,377 parameters, and is now 167,841 parameters",
            "real_pair was cat(x, y), and is now y",
            "fake_pair was cat(x, fake), and is now fake",
            "match is gone; it was 100 * l1(fake, y)",
        ]),
    ],
)  # fmt: skip
def test_a_variant_differs_by_what_it_states(name: str, variant: str, expected: list[str]) -> None:
    (spec, ours), (other, theirs) = shipped_form(name), shipped_form(name, variant=variant)
    assert [str(each) for each in differences(spec, other, (ours, theirs))] == expected


NEAR = "logistic.generator(D(fake))\n  near: {}"
STEP = ("{update: d, minimize: judge}", "{update: g, minimize: fool + near}")


def test_weights_are_compared_term_by_term_through_nested_sums() -> None:
    first = small(*STEP, fool=NEAR.format("2 * (l1(fake, x) - 3 * (l2(fake, x) - l1(x, fake)))"))
    second = small(*STEP, fool=NEAR.format("6 * l1(x, fake) + 2 * l1(fake, x) - 5 * l2(fake, x)"))
    assert said(first, second) == ["the weight of l2(fake, x) in near was -6, and is now -5"]


def test_constants_are_compared() -> None:
    first, second = (small(*STEP, fool=NEAR.format(f"{c} - l1(fake, x) - 2")) for c in (5, 7))
    assert said(first, second) == ["the constant in near was 3, and is now 5"]
    without = small(*STEP, fool=NEAR.format("2 - l1(fake, x) - 2"))
    assert said(without, second) == ["a term of near is new: 5"]


def test_a_weight_may_begin_to_move() -> None:
    first, second = (small(*STEP, fool=NEAR.format(f"{weight} * l1(fake, x)")) for weight in ("2", "linear(2, 0)"))
    assert said(first, second) == ["the weight of l1(fake, x) in near was 2, and is now linear(2, 0)"]


def test_terms_come_and_go() -> None:
    first = small(*STEP, fool=NEAR.format("l1(fake, x) + l2(fake, x)"))
    second = small(*STEP, fool=NEAR.format("l1(fake, x) + l2(fake, x) + 0.1 * mean(fake)"))
    assert said(first, second) == ["a term of near is new: 0.1 * mean(fake)"]
    assert said(second, first) == ["a term of near is gone; it was 0.1 * mean(fake)"]


def test_a_loss_of_weight_zero_is_gone_and_told_once() -> None:
    first, second = (small(*STEP, fool=NEAR.format(f"{weight} * l1(fake, x)")) for weight in (2, 0))
    assert said(first, second) == ["near is gone; it was 2 * l1(fake, x)"]


def test_a_term_of_an_objective_that_is_no_loss_of_the_other() -> None:
    step = ("{update: d, minimize: judge}", '{update: g, minimize: "fool + 3 * l1(fake, x)"}')
    assert said(small(), small(*step)) == ["a term of the objective of g is new: 3 * l1(fake, x)"]


def test_maximizing_is_minimizing_the_negative() -> None:
    first = small("{update: d, maximize: judge}", "{update: g, minimize: fool}", judge="mean(D(x)) - mean(D(fake))")
    second = small(judge="mean(D(fake)) - mean(D(x))")
    found = differences(first, second)
    assert {each.section for each in found} == {"losses"}
    same = small("{update: d, minimize: 0 - judge}", "{update: g, minimize: fool}", judge="mean(D(x)) - mean(D(fake))")
    assert differences(first, same) == ()


def test_names_alone_are_no_difference() -> None:
    text = SPEC.format(f="fake", judge="judge", D="D", x="x", inline="fake")
    renamed = SPEC.format(f="made", judge="tell", D="Critic", x="real", inline="made")
    comparison = compare_specs(read(text), read(renamed))
    assert comparison.differences == ()
    assert comparison.renamed == (("x", "real"), ("D", "Critic"), ("fake", "made"), ("judge", "tell"))
    shown = diff_text(read(text), read(renamed), comparison)
    assert SAME in shown and "fake is called made" in shown
    inline = SPEC.format(f="fake", judge="judge", D="D", x="x", inline="G(z)")
    assert differences(read(text), read(inline)) == ()


def test_arguments_by_position_and_by_keyword_are_the_same() -> None:
    assert said(small(), small(judge="logistic.critic(D(x), fake=D(fake))")) == []


def test_a_changed_value_is_told_once() -> None:
    first, second = (small(more_values=f"  mix: lerp(x, fake, {w})", fool="mean(D(mix))") for w in (0.5, 0.25))
    assert said(first, second) == ["mix was lerp(x, fake, 0.5), and is now lerp(x, fake, 0.25)"]


def test_data_and_networks() -> None:
    other = small(networks_g="mlp(widths=[8], outputs=2, activation=tanh)")
    assert said(small(), other) == [
        "G was mlp(widths=[4], outputs=2, activation=tanh), 22 parameters, and is now"
        " mlp(widths=[8], outputs=2, activation=tanh), 42 parameters"
    ]
    text = SPEC.format(f="fake", judge="judge", D="D", x="x", inline="fake")
    assert said(read(text), read(text.replace("std=0.3", "std=0.5"))) == ["std of x was 0.3, and is now 0.5"]
    assert said(read(text), read(text.replace("normal(2)", "uniform(2)"))) == ["z was normal(2), and is now uniform(2)"]
    assert said(small(), small(more_networks="  E: average(G, decay=0.9)")) == [
        "E is new: average(G, decay=0.9, buffers=copy)"
    ]


def test_optimizers() -> None:
    assert said(small(), small(optimizer_g="sgd(G, lr=0.2, momentum=0.5)")) == [
        "lr of g was 0.1, and is now 0.2", "momentum of g was 0, and is now 0.5",
    ]  # fmt: skip
    assert said(small(), small(optimizer_g="sgd(G, lr=0.1, momentum=0)")) == []
    without, given = (small(optimizer_g=f"adam(G{lr})") for lr in ("", ", lr=0.01"))
    assert said(without, given) == ["lr of g was 0.001, and is now 0.01"]
    assert said(small(), small(optimizer_g="adam(G, lr=0.1)")) == ["g was sgd(G, lr=0.1), and is now adam(G, lr=0.1)"]


def test_the_schedule() -> None:
    first = small("{update: d, minimize: judge, draw: all}", "{update: g, minimize: fool}")
    assert said(small(), first) == []  # the first update's draws are the step's
    second = small("{update: g, minimize: fool}", "{update: d, minimize: judge, times: 5, draw: all}")
    assert said(small(), second) == [
        "the order of updates was d, then g, and is now g, then d",
        "how often update d runs was once, and is now 5 times",
        "what update d draws anew was nothing, and is now x and z",
    ]


def test_batch_length_and_evaluation() -> None:
    second = small(batch="8", length="  length: 7 steps", evaluate="evaluate: {every: 5 steps, grid: fake, samples: 8}")
    texts = said(small(), second)
    assert texts[:2] == ["the batch was 4, and is now 8", "the length was 100 steps, and is now 7 steps"]
    assert "the time between evaluations is new: 5 steps" in texts


def test_an_evaluator_differs_by_its_network_and_its_settings(tmp_path: Path) -> None:
    (tmp_path / "judge.yaml").write_text(JUDGE)
    first, width, network = (judged(tmp_path, call) for call in ('"C", size=4', '"C", size=5', '"E", size=4'))
    was = 'evaluator J was trained("judge", network="C", size=4), and is now trained("judge", network='
    assert said(first, width) == [f'{was}"C", size=5)']
    assert said(first, network) == [f'{was}"E", size=4)']


def test_a_difference_is_a_sentence() -> None:
    assert str(Difference("batch", "the batch", "4", "8")) == "the batch was 4, and is now 8"
    assert str(Difference("data", "z", "", "normal(2)")) == "z is new: normal(2)"
    assert str(Difference("data", "z", "normal(2)", "")) == "z is gone; it was normal(2)"


def test_a_verb_agrees_with_its_noun() -> None:
    first, second = (
        small(optimizer_g=f"adam(G, betas=[{beta}, 0.999], eps={eps})") for beta, eps in ((0, 0.1), (0.5, 0.2))
    )
    assert said(first, second) == [
        "betas of g were [0, 0.999], and are now [0.5, 0.999]",
        "eps of g was 0.1, and is now 0.2",
    ]
    first, second = (small(length=f"  length: {n} epochs") for n in (1, 2))
    assert said(first, second) == ["the length was 1 epoch, and is now 2 epochs"]


def test_pictures_are_told_by_name() -> None:
    grids = "fake", "[x, fake]", "{pairs: [x, fake]}"
    lone, more, named = (small(evaluate=f"evaluate: {{every: 5 steps, grid: {grid}}}") for grid in grids)
    assert said(lone, more) == ["the picture was [fake], and is now [x, fake]"]
    assert said(more, named) == ["the picture is gone; it was [x, fake]", "the picture pairs is new: [x, fake]"]


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["diff", "gan@quick", "gan", "--exit-code"]) == 0
    assert SAME in capsys.readouterr().out
    assert main(["diff", "gan", "gan:saturating"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "from gan: gan, profile quick\nto   gan:saturating: gan, profile quick, variant saturating\n"
    )
    assert "fool was logistic.generator(D(fake)), and is now minimax.generator(D(fake))" in printed
    assert main(["diff", "gan", "gan@quick:saturating", "--exit-code", "-o", str(tmp_path / "out.txt")]) == 1
    assert "losses" in (tmp_path / "out.txt").read_text()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gan@", "'gan@' has nothing after '@'; a spec in a form is written SPEC[@PROFILE][:VARIANT]"),
        ("gan@a@b", "'gan@a@b' has '@' twice; a spec has one profile"),
        ("gan:a:b", "'gan:a:b' has ':' twice; several variants stand behind one ':', with commas"),
        ("gna@quick", "did you mean 'gan'?"),
    ],
)
def test_a_wrong_argument_has_one_message(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", argument, "gan"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gan@quik", "gan@quik:1:5: error GG205: there is no profile 'quik'"),
        ("gan@quick:untrained,satrating", "gan@quick:untrained,satrating:1:21: error GG205: there is no variant"),
    ],
)
def test_a_form_that_is_not_there_is_shown_as_it_was_typed(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", argument, "gan"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(message) and f"| {argument}\n" in said and "did you mean" in said


def test_a_file_is_a_file_whatever_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine@quick"
    path.write_text(SPEC.format(f="fake", judge="judge", D="D", x="x", inline="fake"))
    assert main(["diff", str(path), f"{path}@paper"]) == 0
    assert SAME in capsys.readouterr().out


def judged(folder: Path, call: str) -> Spec:
    """A spec whose results are judged by a network of the spec beside it."""
    text = SPEC.format(f="fake", judge="judge", D="D", x="x", inline="fake")
    path = folder / "judged.yaml"
    path.write_text(
        f"{text}evaluate:\n  networks: {{J: 'trained(\"judge\", network={call})'}}\n  results: {{m: mean(J(x))}}\n"
    )
    return resolve(parse(path), Choice())


JUDGE = """
gangraph: 1
name: judge
params: {size: 4}
data: {x: plane(std=0.3)}
networks: {C: "mlp(widths=[size])", E: "mlp(widths=[size])"}
losses: {away: mean(C(x) ** 2) + mean(E(x) ** 2)}
train:
  batch: 4
  length: 3 steps
  optimizers: {c: "sgd([C, E], lr=0.1)"}
  step: [{update: c, minimize: away}]
"""
SPEC = """
gangraph: 1
name: names
data:
  {x}: plane(std=0.3)
  z: normal(2)
networks:
  G: mlp(widths=[4], outputs=2)
  {D}: mlp(widths=[4])
values:
  {f}: G(z)
losses:
  {judge}: logistic.critic(real={D}({x}), fake={D}({f}))
  fool: logistic.generator({D}({inline}))
train:
  batch: 4
  length: 10 steps
  optimizers:
    g: sgd(G, lr=0.1)
    d: sgd({D}, lr=0.1)
  step:
    - {{update: d, minimize: {judge}, draw: all, times: 2}}
    - {{update: g, minimize: fool, draw: z}}
"""
