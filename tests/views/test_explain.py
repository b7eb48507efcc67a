"""What `explain` tells. `GANGRAPH_GOLDEN=1 pytest tests/views` rewrites the golden files."""

import pytest
from readings import SYSTEMS, checked, golden, shipped_form

from gangraph.cli import main
from gangraph.language.expression.model import Expression
from gangraph.language.expression.syntax import parse_expression
from gangraph.language.scalar import Scalar
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.plan.planner import plan
from gangraph.views.explain import explain, explain_text, explain_update
from gangraph.views.passages import Passage, block_text
from gangraph.views.printers.words import over_time, written
from gangraph.views.wording import counted
from tests.support import DEFAULTS, SMALL, load, read, small


def told(index: int, *step: str, **parts: str) -> str:
    """What is said about one update of a small spec."""
    return " ".join(explain_update(plan(checked(*step, **parts)), index))


def explained(spec: Spec) -> str:
    """Everything that is said of a spec, on one line."""
    return " ".join(explain_text(spec, [plan(phase) for phase in check_spec(spec)]).split())


def expression(text: str) -> Expression:
    return parse_expression(Scalar.of(text, "test"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_shipped_spec_in_sentences(name: str) -> None:
    spec, phases = shipped_form(name)
    text = explain_text(spec, [plan(phase) for phase in phases])
    assert text == golden(f"{name}.explain.txt", text)


@pytest.mark.parametrize("name", SYSTEMS)
def test_sentences_are_whole(name: str) -> None:
    spec, phases = shipped_form(name)
    plans = [plan(phase) for phase in phases]
    sentences = [s for p in plans for i in range(len(p.updates)) for s in explain_update(p, i)]
    assert sentences
    assert all(sentence.endswith(".") and "  " not in sentence for sentence in sentences)
    for width in (100, 80, 60):
        assert all(len(line) <= width for line in explain_text(spec, plans, width).splitlines())


def test_a_value_that_a_later_update_differentiates_is_computed_ahead_and_reused() -> None:
    assert told(0).startswith(
        "fake is computed first, together with what its gradient needs, because update 2 (g) will differentiate it."
    )
    assert "fake is not computed again: update 1 (d) has it, and neither G nor z has changed since." in told(1)
    assert "D(fake) is computed again, since D has changed." in told(1)


def test_new_draws_are_why_a_value_is_computed_again() -> None:
    step = ("{update: d, minimize: judge}", "{update: g, minimize: fool, draw: z}")
    assert "G(z) is computed again, since z is new." in told(1, *step)
    assert "D(fake) is computed again, since D has changed and z is new." in told(1, *step)


def test_an_update_that_may_not_run_leaves_nothing() -> None:
    step = (
        "{update: g, minimize: fool, when: step > 3}",
        "{update: g, minimize: fool}",
        "{update: d, minimize: judge}",
    )
    assert "since G has changed" in told(1, *step)


def test_a_constant_number_of_times_is_no_doubt() -> None:
    judge, fool = "{update: d, minimize: judge, times: 2}", "{update: g, minimize: fool}"
    again = "G(z) is computed again, since update 1 (d)"
    assert f"{again} repeats and keeps nothing for later ones." in told(1, judge, fool)
    varied = judge.replace("2", "2 if step > 3 else 0")
    assert f"{again} may not have run." in told(1, varied, fool)


def test_frozen_networks_are_named_with_who_trains_them() -> None:
    assert "it passes through D(fake), where D stays as it is: update 1 (d) trains it." in told(1)
    assert "nothing trains it" in told(0, "{update: g, minimize: fool}")


def test_a_loss_that_is_used_twice_is_told_once() -> None:
    losses = "logistic.generator(D(fake))\n  near: 2 * fool + l1(fake, x)"
    spec = small("{update: d, minimize: judge}", "{update: g, minimize: fool + near}", fool=losses)
    text = explain_text(spec, [plan(phase) for phase in check_spec(spec)])
    assert text.count("- fool = ") == 1
    assert text.count("- near = ") == 1


def test_a_minus_at_the_beginning_of_a_line_is_no_item() -> None:
    long = " - ".join(["mean(fakes)"] * 20)
    spec = small(more_values=f"  fakes: 2 * fake\n  far: {long}", fool="logistic.generator(D(fake)) + mean(far)")
    plans = [plan(phase) for phase in check_spec(spec)]
    assert any(line.lstrip().startswith("- mean(") for line in explain_text(spec, plans).splitlines())
    values = next(block for block in explain(spec, plans) if block[0].texts == ("These values have names:",))
    assert [text.partition(" = ")[0] for text in values[1].texts] == ["fake", "fakes", "far"]


def test_blocks_are_filled_into_lines() -> None:
    block = (Passage("heading", ("Update 1: d",)), Passage("paragraph", ("It goes",)), Passage("list", ("a - b", "c")))
    assert block_text(block) == "Update 1: d\n  It goes\n    - a - b\n    - c"
    assert block_text(block[1:]) == "It goes\n  - a - b\n  - c"


def test_a_formula_breaks_before_an_operator() -> None:
    block = (Passage("list", ("loss = mean(first) + mean(second) * third(fourth, fifth)",)),)
    assert block_text(block, 28).splitlines() == [
        "  - loss = mean(first)", "    + mean(second)", "    * third(fourth, fifth)",
    ]  # fmt: skip
    assert block_text(block, 24).splitlines()[2:] == ["    * third(fourth,", "    fifth)"]


def test_the_command_folds_to_the_terminal_and_to_80_letters_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    widest = {}
    for columns in (None, "60", "300"):
        if columns:
            monkeypatch.setenv("COLUMNS", columns)
        else:
            monkeypatch.delenv("COLUMNS", raising=False)
            monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError))
        assert main(["explain", "gan"]) == 0
        widest[columns] = max(map(len, capsys.readouterr().out.splitlines()))
    assert 75 < widest[None] <= 80 and 55 < widest["60"] <= 60 and 95 < widest["300"] <= 100


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        ("fool", "fool smaller: - fool = "),
        ("5 - 2 * fool", "2 times fool larger: - fool = "),
        ("fool + near", "the sum of fool and near smaller: - fool = "),
        ("fool - 3 * (near + away)", "fool smaller, and the sum of 3 times near and 3 times away larger: - fool = "),
        ("cosine(1, 0) * fool", "(1 at first, then on half a cosine to 0 at the end) times fool smaller: - fool = "),
        ("l1(fake, x)", "the mean absolute difference between fake and x smaller. The gradient"),
        ("abs(near - 2) + fool", "the sum of the absolute value of near - 2 and fool smaller: - fool = "),
    ],
)
def test_what_an_objective_asks_for(goal: str, wanted: str) -> None:
    losses = "logistic.generator(D(fake))\n  near: l2(fake, x)\n  away: mean(fake ** 2)"
    text = explained(small("{update: d, minimize: judge}", f"{{update: g, minimize: '{goal}'}}", fool=losses))
    assert f"to make {wanted}" in text
    assert ("- near = " in text) == ("near" in goal)


def test_words_say_what_a_formula_does_not() -> None:
    losses = "near + 2 * away\n  near: l2(fake, x)\n  away: mean(fake ** 2)"
    text = explained(small(fool=losses))
    assert "- fool = near + 2 * away - near = l2(fake, x): the mean squared difference between fake and x" in text
    assert "- away = mean(fake ** 2) The gradient" in text


def test_an_objective_without_a_name_is_called_by_its_players() -> None:
    text = told(0, "update: {d: {maximize: 0 - judge}, g: {maximize: fool}}")
    assert "The gradient of the objective of D reaches D" in text
    assert "The gradient of fool reaches G" in text


def test_players_that_move_together_have_a_gradient_each() -> None:
    text = told(0, "update: {d: {minimize: judge}, g: {minimize: fool}}")
    assert "The gradient of judge reaches D through D(x) and D(fake)." in text
    assert "The gradient of fool reaches G through G(z)." in text
    assert "this loss is not what trains it" in text
    assert "the players move at the same time" in text


def test_stopped_held_and_past_values() -> None:
    judge = "logistic.critic(real=D(detach(x)), fake=D(history(at_first(fake), 6)))"
    text = told(1, "{update: g, minimize: fool}", "{update: d, minimize: judge}", judge=judge)
    assert "fake is taken as it was when it was first computed in this step." in text
    assert "fake is mixed with its past: a buffer holds 6 older samples and, once it is full," in text
    assert "The spec stops the gradient at x." in text
    assert "the buffer has size 0" in told(0, judge="logistic.critic(real=D(x), fake=D(history(fake, 0)))")


def test_what_is_computed_from_calls_of_its_own() -> None:
    text = told(0, "{update: g, minimize: fool}", "{update: d, minimize: judge}", fool="mean(again(D(fake)))")
    assert "again(D(fake)) is computed from calls of its own: G and D are called once more for it." in text
    assert "called once more" not in told(0)


def test_a_function_does_not_stay_as_it_is() -> None:
    function, fool = "  T: {inputs: x, output: 2 * x}", "mean(D(T(fake)))"
    text = told(0, "{update: g, minimize: fool}", "{update: d, minimize: judge}", more_networks=function, fool=fool)
    assert "On its way it passes through D(T(fake)), where D stays as it is" in text


def test_what_is_fixed_is_the_same_in_every_step() -> None:
    text = explained(
        read(
            SMALL.format(
                **DEFAULTS, step="  step:\n    - {update: g, minimize: fool}\n    - {update: d, minimize: judge}"
            ).replace("plane(std=0.3)", "fixed(plane())")
        )
    )
    assert "numbers in [-2.18, 2.18] for each sample, the same in every step. z is drawn" in text


def test_what_a_repetition_does_not_change_is_computed_once() -> None:
    text = told(0, "{update: d, minimize: judge, times: 3}", "{update: g, minimize: fool}")
    assert "G(z) is computed once, before the repetitions, for nothing in them changes it." in text


def test_a_penalty_takes_a_second_derivative() -> None:
    judge = "wasserstein.critic(real=D(x), fake=D(fake)) + mean(norm(grad(D(x), x)))"
    assert "that of D(x) with respect to x" in told(0, judge=judge)
    assert "a second derivative" in told(0, judge=judge)
    assert "derivative" not in told(0)


def test_what_follows_and_what_limits_the_gradient() -> None:
    text = told(
        0, "{update: d, minimize: judge, then: 'clip(D, -1, 1)', clip_grad_norm: 2}", "{update: g, minimize: fool}"
    )
    assert "The gradient is scaled down to a norm of 2 where it is longer." in text
    assert "After the step of the optimizer, clip(D, -1, 1) is applied." in text


def test_terms_are_told_with_weights_and_signs() -> None:
    spec = small("{update: d, maximize: judge}", "{update: g, minimize: fool + 2 * near}",
                 fool="logistic.generator(D(fake))\n  near: 3 * l1(fake, x) - l2(fake, x) / 4")  # fmt: skip
    text = " ".join(explain_text(spec, [plan(phase) for phase in check_spec(spec)]).split())
    assert "to make judge larger: - judge = logistic.critic(real=D(x), fake=D(fake)): the cross-entropy" in text
    assert "to make the sum of fool and 2 times near smaller: - fool = " in text
    assert (
        "near = 3 * l1(fake, x) - l2(fake, x) / 4: 3 times the mean absolute difference between fake and x, minus 0.25"
        " times the mean squared difference between fake and x"
    ) in text


def test_every_phase_has_its_part() -> None:
    spec = small(length="  phases: [{name: warm, length: 10 steps}, {name: cold, length: 20 steps}]")
    text = explain_text(spec, [plan(phase) for phase in check_spec(spec)])
    assert "phase 1 of 2: warm" in text and "Training lasts 10 steps." in text
    assert "phase 2 of 2: cold" in text and "Training lasts 20 steps." in text


def test_every_picture_has_its_sentence() -> None:
    grid = "{pairs: [x, fake], sweep: '[fake, x - 2, x - 1, x - 0, x - 0.5, x]'}"
    text = explained(small(evaluate=f"evaluate: {{every: 1 epochs, samples: 8, grid: {grid}}}"))
    assert "Every epoch the run is evaluated with 8 samples, the networks in evaluation mode." in text
    assert "A picture called pairs shows x and fake." in text
    assert "A picture called sweep shows fake, four columns from x - 2 to x - 0.5 and x." in text
    assert "A picture shows fake." in explained(small(evaluate="evaluate: {samples: 8, grid: fake}"))


def test_names_that_hold_for_looking_alone() -> None:
    looks = (
        "evaluate: {data: {x: 'plane(std=0.5)'}, values: {double: 2 * fake, 'as[k in 0..4]': 'fake - k'},"
        " metrics: {judge: judge, far: mean(double), spread: 'mean(as[3])'}}"
    )
    assert (
        "In the evaluation these names hold: - x = plane(std=0.5) - double = 2 * fake - as[0] = fake - 0, and so"
        " on to as[4] = fake - 4 It measures, as it goes on: - judge - far = mean(double) - spread = mean(as[3])"
    ) in explained(small(evaluate=looks))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.1", "0.1"),
        (
            "linear(2e-4, 0, start=100 epochs, end=200 epochs)",
            "0.0002 until epoch 100, then linearly to 0 at epoch 200",
        ),
        ("cosine(1, 0, end=5000 steps)", "1 at first, then on half a cosine to 0 at step 5,000"),
        ("linear(1, 0, end=50 kimg)", "1 at first, then linearly to 0 at 50 kimg"),
        ("linear(1, 0)", "1 at first, then linearly to 0 at the end"),
        ("max(0.1, step)", "max(0.1, step)"),
    ],
)
def test_numbers_over_time(text: str, words: str) -> None:
    assert over_time(expression(text)) == words


def test_counts_and_numbers() -> None:
    assert [counted(n, "batch", "batches") for n in (0, 1, 2, 1300)] == [
        "no batches", "one batch", "two batches", "1,300 batches",
    ]  # fmt: skip
    assert written(expression("f(1.7320508075688772)")) == "f(1.73205)"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "wgan", "--no-share"]) == 0
    assert "It runs 5 times in a row. Each time it draws x and z anew." in capsys.readouterr().out
    assert main(["explain", "nothing"]) == 2
    assert "no spec 'nothing'" in capsys.readouterr().err


def test_a_spec_without_evaluation_or_values_is_told_too() -> None:
    spec = read(BARE)
    text = explain_text(spec, [plan(phase) for phase in check_spec(spec)])
    assert "There is one network." in text
    assert "These values have names" not in text and "is evaluated with" not in text


BARE = """
gangraph: 1
name: bare
data: {x: plane(std=0.3)}
networks: {D: "mlp(widths=[4])"}
losses: {low: mean(D(x))}
train:
  batch: 1
  length: 5 steps
  optimizers: {d: "sgd(D, lr=0.1)"}
  step: [{update: d, minimize: low}]
"""


def test_what_the_end_of_the_step_computed_is_named_by_the_states_that_move_there() -> None:
    text = explained(load("stylegan2", variant="ada"))
    assert "positive is not computed again: the end of the step for recent has it" in text
    assert "(state)" not in text
