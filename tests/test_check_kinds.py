"""Kinds of mistakes that only a check can find before a run: what passes it does not die in the first step."""

from pathlib import Path

import pytest

from gangraph.check.lints.rates import rates_over
from gangraph.errors import MOST_PROBLEMS, SpecError
from gangraph.language.document.parse import parse_text
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.trainer import Trainer

BASE = """gangraph: 1
name: small
data:
  x: plane()
  z: normal(2)
  c: categorical(3)
  image: normal(3, 8, 8)
networks:
  G: {inputs: z, layers: "linear(8), tanh, linear(2)"}
  D: {inputs: x, layers: "linear(8), tanh, linear(1)"}
values:
  fake: G(z)
losses:
  judge: logistic.critic(real=D(x), fake=D(fake))
  fool: logistic.generator(D(fake))
  EXTRA
train:
  batch: 8
  length: 20 steps
  optimizers: {g: "adam(G, lr=1e-3)", d: "adam(D, lr=1e-3)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
"""


def spec(extra: str = "", *replacements: tuple[str, str]) -> Spec:
    """The small spec with another loss and other changes."""
    text = BASE.replace("EXTRA", f'extra: "{extra}"' if extra else "# nothing more")
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    return resolve(parse_text(text, name="kinds.yaml"))


def codes(made: Spec) -> list[str]:
    """The codes of the errors of a spec."""
    try:
        check_spec(made)
    except SpecError as error:
        return [problem.code for problem in error.problems if problem.severity == "error"]
    return []


@pytest.mark.parametrize(
    "value",
    [
        "mean(norm(x) * D(x))",
        "mean(D(x) - norm(x))",
        "mean(norm(x) * image)",
        "mean(x ** 2 / norm(x))",
        "mean(lerp(D(x), norm(x), 0.5))",
        "mean(uniform(1) * norm(x))",
        "mean(softmax(norm(x), dim=0))",
        "mean(softmax(D(x), dim=-2))",
        "mean(logsumexp(D(x), dim=0))",
        "mean(crop(normal(16), 4, 4))",
        "mean(zero_pad2d(x, 1, 1, 1, 1))",
        "mean(batch_mean(x) * reshape(norm(x), 1) - norm(x))",
        "mean(normal(8) * norm(x))",
    ],
)
def test_the_batch_meets_no_feature_axis(value: str) -> None:
    assert set(codes(spec(value))) <= {"GG412", "GG403"}
    assert codes(spec(value))


@pytest.mark.parametrize(
    "layers",
    ["linear(1)", "linear(4), relu, linear(1)", "minibatch_discrimination(4, 3)"],
)
def test_a_layer_takes_no_batch_as_features(layers: str) -> None:
    network = ("networks:", f'networks:\n  K: {{inputs: v, layers: "{layers}"}}')
    assert codes(spec("mean(K(norm(x)))", network))
    assert codes(spec("mean(K(reshape(norm(x), 1)))", network)) == []


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_network_whose_features_are_as_many_as_the_batch_is_told_from_it(batch: int) -> None:
    network = ("networks:", "networks:\n  K: {inputs: v, output: mean_pool(image2(v)) * norm(v)}")
    network = ("networks:", 'networks:\n  K: {inputs: v, parts: {a: "linear(8)"}, output: a(v) * norm(a(v))}')
    found = codes(spec("mean(K(x))", network, ("batch: 8", f"batch: {batch}")))
    assert found == (["GG412"] if batch in (1, 8) else ["GG402"])


@pytest.mark.parametrize(
    "value",
    [
        "mean(reshape(norm(x), 1) * D(x))",
        "mean(lerp(x, fake, uniform(1)))",
        "mean(norm(x) * column(D(x), 0))",
        "mean(minibatch_std(image))",
        "mean(x - batch_mean(x))",
        "mean(pick(x, 0) - x)",
        "mean(cat(D(x), D(fake), dim=0))",
        "mean((norm(grad(D(x), x)) - 1) ** 2)",
        "mean(adain(image, normal(3), normal(3)))",
        "mean(planes(x, image))",
        "mean(one_hot(c, 3))",
    ],
)
@pytest.mark.parametrize("batch", [4, 8])
def test_what_means_the_batch_passes(value: str, batch: int) -> None:
    assert codes(spec(value, ("batch: 8", f"batch: {batch}"))) == []


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("mean(one_hot(c, 2))", "mean(one_hot(c, 3))"),
        ("mean(one_hot(c + 1, 3))", "mean(one_hot(c + 1, 4))"),
        ("mean(one_hot(c - 1, 3))", "mean(one_hot(c, 3))"),
        ("cross_entropy(D(x), c)", "cross_entropy(normal(3) * D(x), c)"),
        ("mean(E(c))", "mean(E(clamp(c, 0, 1)))"),
    ],
)
def test_labels_stay_below_the_classes_of_what_reads_them(value: str, right: str) -> None:
    network = ("networks:", 'networks:\n  E: {inputs: c, layers: "embedding(2, 4)"}')
    assert codes(spec(value, network)) == ["GG413"]
    assert codes(spec(right, network)) == []


@pytest.mark.parametrize("scheme", ["orthogonal", "xavier_normal", "kaiming_uniform"])
def test_a_scheme_of_matrices_does_not_start_a_norm(scheme: str) -> None:
    layers = ("linear(8), tanh, linear(2)", "linear(8), batch_norm, linear(2)")
    assert codes(spec("", layers, ("inputs: z,", f"inputs: z, init: {{all: {scheme}}},"))) == ["GG322"]
    assert codes(spec("", layers, ("inputs: z,", f"inputs: z, init: {{linear: {scheme}}},"))) == []


@pytest.mark.parametrize(
    "options", ["betas=[0.9]", "betas=0.9", "betas=['a', 'b']", "amsgrad='yes'", "amsgrad=1", "eps='x'", "lr='fast'"]
)
def test_options_of_optimizers_have_their_types(options: str) -> None:
    lr = "" if options.startswith("lr") else "lr=1e-3, "
    assert codes(spec("", ("adam(G, lr=1e-3)", f"adam(G, {lr}{options})"))) == ["GG320"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("fake: G(z)", "self: G(z)"), ("fake)", "self)")),
        (("z: normal", "self: normal"), ("G(z)", "G(self)")),
        (("inputs: z", "inputs: self"), ("G(z)", "G(z)")),
    ],
)
def test_code_has_names_of_its_own(old: tuple[str, str], new: tuple[str, str]) -> None:
    Trainer(spec("", old, new), device="cpu", compile="off").step()


def test_a_message_shows_the_first_problems_and_how_many_there_are() -> None:
    wrong = "\n".join(f"  v{k}: nothing{k}" for k in range(200))
    with pytest.raises(SpecError) as error:
        check_spec(resolve(parse_text(BASE.replace("EXTRA", "# no").replace("values:", f"values:\n{wrong}"))))
    assert str(error.value).count("error GG310") == MOST_PROBLEMS
    assert str(error.value).endswith("and 150 more problems")


@pytest.mark.parametrize(
    "change",
    [
        ("step: [", "step:\n    - {for a in 1..1000: {for b in 1..1000: {update: d, minimize: judge}}}\n  XX: ["),
        ("length: 20 steps", "phases: [{for a in 1..1000: [{for b in 1..1000: [{length: 1 steps}]}]}]"),
        (
            'layers: "linear(8), tanh, linear(2)"',
            "parts: {a: [{for k in 1..1024: linear(2)}], b: 'a, a, a, a'}, output: b(z)",
        ),
        ('layers: "linear(8), tanh, linear(1)"', "layers: [{for k in 1..1024: 'tanh, tanh, tanh'}, linear(1)]"),
    ],
)
def test_what_multiplies_ends_at_a_bound(change: tuple[str, str]) -> None:
    old, new = change
    text = (
        BASE.replace("EXTRA", "# no")
        .replace(old, new, 1)
        .replace("\n  XX: [{update: d, minimize: judge}, ", "\n    # ")
    )
    try:
        made = resolve(parse_text(text, name="bounds.yaml"))
    except SpecError as error:
        raise AssertionError(str(error)) from None
    assert {"GG415", "GG452"} & set(codes(made))


@pytest.mark.parametrize(
    ("rate", "code"),
    [
        ("linear(1e-3, 0, start=5 steps, end=10 steps)", "GG630"),
        ("linear(1e-3, 0, end=5 steps)", "GG630"),
        ("1e-3 if step < 6 else 0", "GG630"),
        ("linear(1e-3, 0, start=20 steps, end=40 steps)", "GG631"),
        ("linear(1e-3, 0)", ""),
        ("linear(1e-3, 0, start=10 steps, end=20 steps)", ""),
        ("cosine(1e-3, 1e-5, end=10 steps)", ""),
    ],
)
def test_rates_that_stand_still_are_told_with_their_numbers(rate: str, code: str) -> None:
    (checked,) = check_spec(spec("", ("adam(G, lr=1e-3)", f"adam(G, lr={rate})")))
    assert [lint.code for lint in checked.lints if lint.code.startswith("GG63")] == ([code] if code else [])


@pytest.mark.parametrize(
    ("rate", "steps", "said"),
    [
        ("linear(1e-3, 0)", 40, "0 for 50% of the training"),
        ("linear(1e-3, 0, end=10 steps)", 100, "0 for 90% of the training"),
        ("linear(1e-3, 0)", 25, ""),
        ("linear(1e-3, 0, end=10 steps)", 12, ""),
        ("linear(1e-3, 0)", 5, ""),
    ],
)
def test_steps_beyond_a_schedule_are_told_with_their_numbers(rate: str, steps: int, said: str) -> None:
    (checked,) = check_spec(spec("", ("adam(G, lr=1e-3)", f"adam(G, lr={rate})")))
    told = [warning.message for warning in rates_over(checked.graph, steps, 0)]
    assert len(told) == bool(said) and all(said in message for message in told)


@pytest.mark.parametrize("layer", ["tanh", "softplus", "linear(4), tanh"])
def test_a_smooth_network_has_a_gradient_of_a_gradient(layer: str) -> None:
    text = (Path(__file__).parent / "errors/gradient_of_a_constant_gradient.yaml").read_text()
    made = resolve(parse_text(text.replace("leaky_relu(0.2)", layer), name="smooth.yaml"))
    assert "GG414" not in codes(made)
    assert "GG414" in codes(resolve(parse_text(text, name="smooth.yaml")))


@pytest.mark.parametrize("way", [1, -1])
def test_values_of_a_network_may_lean_on_each_other_in_a_long_chain(way: int) -> None:
    links = [f"v{number}: tanh(v{number - 1})" for number in range(1, 300)][::way]
    chain = "G: {inputs: z, parts: {p: linear(2)}, values: {" + ", ".join(["v0: p(z)", *links]) + "}, output: v299}"
    made = spec("", ('G: {inputs: z, layers: "linear(8), tanh, linear(2)"}', chain))
    assert not codes(made)
    assert Trainer(made).step()


@pytest.mark.parametrize("form", ["tanh({})", "detach({})", "grad({}, z)", "lerp({0}, {0}, 0.5)", "{} + 1.0"])
def test_values_lean_on_each_other_as_deep_as_is_allowed_in_any_order(form: str) -> None:
    """With values that are written before what they depend on, and a metric that is deep itself, on top of them."""
    links = [f'v{n}: "{form.format(f"v{n - 1}")}"' for n in range(1, 73)]
    values = "{fake: G(z), " + ", ".join([*links[::-1], "v0: tanh(fake)"]) + "}"
    measured = "mean(v72)" + " + mean(x) * 1.5" * 40
    made = spec("", ("values:\n  fake: G(z)", f"values: {values}"))
    assert not codes(made)
    text = BASE.replace("EXTRA", "").replace("values:\n  fake: G(z)", f"values: {values}")
    assert not codes(resolve(parse_text(f"{text}evaluate: {{metrics: {{deep: {measured}}}}}\n", name="deep.yaml")))


@pytest.mark.parametrize("length", [2, 60, 180, 400])
def test_a_circle_of_any_length_is_told(length: int) -> None:
    links = ", ".join(f"v{n}: tanh(v{(n + 1) % length})" for n in range(length))
    of_values = spec("", ("values:\n  fake: G(z)", "values: {fake: G(z), " + links + "}"))
    chain = "G: {inputs: z, parts: {p: linear(2)}, values: {" + links + "}, output: p(v0)}"
    of_network = spec("", ('G: {inputs: z, layers: "linear(8), tanh, linear(2)"}', chain))
    for made in (of_values, of_network):
        assert {"GG303", "GG415"} & set(codes(made))


def test_a_network_without_parameters_has_an_empty_vector_of_them() -> None:
    made = spec("mean(R(x)) + total(parameters(R) ** 2)", ("networks:", "networks:\n  R: {inputs: x, layers: tanh}"))
    assert not codes(made)
