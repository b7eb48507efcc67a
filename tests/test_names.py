"""Names that a spec can give: plain ones, of which each means one thing."""

import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from gangraph.errors import SpecError
from gangraph.language.document.parse import parse_text
from gangraph.language.resolve.document import resolve
from gangraph.pipeline import check_spec
from gangraph.trainer import Trainer
from gangraph.views.code import code_text
from tests.support import copy_parameters, read, small, trainer

SPEC = """gangraph: 1
name: small
data: {x: plane(), z: normal(2)}
networks: {G: "mlp(widths=[8], outputs=2)", D: "mlp(widths=[8])"}
values: {fake: G(z)}
losses: {judge: "logistic.critic(real=D(x), fake=D(fake))", fool: logistic.generator(D(fake))}
train:
  batch: 8
  length: 20 steps
  optimizers: {g: "adam(G, lr=1e-3)", d: "adam(D, lr=1e-3)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
evaluate:
  samples: 4
  grid: {shown: [fake]}
  samplers: {drawn: {show: [fake]}}
  metrics: {gap: mean(D(x)) - mean(D(fake))}
profiles: {quick: {train: {batch: 4}}}
variants: {wide: {train: {batch: 16}}}
"""
ROLES = """gangraph: 1
name: roles
data: {{{x}: normal(2), {z}: normal(2)}}
networks:
  {G}:
    inputs: {inner}
    parts: {{{part}: "linear(4), batch_norm, noise"}}
    values: {{{inside}: {part}({inner}), last9: linear(2)({inside})}}
    outputs: {{main9: last9, {output}: {inside}}}
  {D}: {{inputs: given9, layers: "spectral_norm(linear(4)), tanh, linear(1)"}}
values: {{{fake}: {G}({z}).main9}}
losses:
  {judge}: logistic.critic(real={D}({x}), fake={D}({fake})) + mean(norm(grad({D}({fake}), {fake}))) + mean({G}({z}).{output})
  {fool}: logistic.generator({D}({fake})) + 0.1 * total(parameters({D}) ** 2)
train:
  batch: 4
  length: 9 steps
  optimizers: {{{g}: "adam({G}, lr=1e-3)", {d}: "adam({D}, lr=1e-3)"}}
  step:
    - {{update: {d}, minimize: {judge}, unroll: {{update: {g}, minimize: {fool}, steps: 1}}}}
    - {{update: {g}, minimize: {fool}}}
evaluate: {{samples: 4, metrics: {{{metric}: mean({D}({fake}))}}}}
"""  # noqa: E501  # an expression of a spec stands on one line
ROLE_NAMES = re.findall(r"{(\w+)}", ROLES)
# What the generated code, Python, torch and modules call things themselves, and what else a name could be mistaken for.
BORROWED = re.findall(
    r"\S+",
    """
print len list int type id object map zip open super self cls torch nn F fx Tensor device losses networks
optimizers forward training buffers modules children state_dict register_buffer T_destination _modules _parameters
items keys values get __init__ __class__ __dict__ __getattr__ __call__ _ __ _x x_1 x_2 noise_draw state loss draw
draws grad_1 add_1 getitem inf nan NoneType None1 null yes no on off y n pi graph seed train evaluate data layers
main annotations np gangraph H_frozen H_state H_again H_ahead H_parameters H_fused H_autoregressive
""",
)
ODD = ["../up", "a/b", "/tmp/x", "..", ".hidden", "-rf", "a b", "a\\u0007b", "ä", "n" * 101, "a,b", "a\\nb", "~", ""]


def codes(text: str) -> list[str]:
    """The codes of the errors of a spec."""
    try:
        check_spec(resolve(parse_text(text, name="names.yaml")))
    except SpecError as error:
        return [problem.code for problem in error.problems if problem.severity == "error"]
    return []


def test_plain_names_pass() -> None:
    assert codes(SPEC) == []
    assert codes(SPEC.replace("name: small", "name: Small-2.1+gp_x")) == []


@pytest.mark.parametrize("odd", ODD)
def test_names_of_specs_overlays_and_phases_cannot_lead_out_of_a_folder(odd: str) -> None:
    for old, new in (("name: small", f'name: "{odd}"'), ("quick:", f'"{odd}":'), ("wide:", f'"{odd}":')):
        assert "GG410" in codes(SPEC.replace(old, new)), old
    phased = SPEC.replace("  length: 20 steps", f'  phases: [{{name: "{odd}", length: 20 steps}}]')
    assert "GG410" in codes(phased)


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd])
@pytest.mark.parametrize("place", ["x: plane()", "G: ", "fake: G(z)", "fool:", "g: ", "shown:", "drawn:", "gap:"])
def test_names_of_everything_else_are_identifiers(place: str, odd: str) -> None:
    _key, colon, rest = place.partition(":")
    assert "GG102" in codes(SPEC.replace(place, f'"{odd}"{colon}{rest}', 1))


@pytest.mark.parametrize("index", ['"../up"', '"a b"', '"ä"', "true", "none", "1.5", "[1]", f'"{"n" * 101}"', '""'])
def test_members_of_families_are_numbered_or_have_plain_names(index: str) -> None:
    values = f"values:\n  fake: G(z)\n  'fake[{index}]': G(z)"
    assert codes(SPEC.replace("values: {fake: G(z)}", values)) == ["GG410"]


@pytest.mark.parametrize("name", ["step", "epoch", "seen", "progress", "params", "x", "G", "fake", "judge", "fool"])
@pytest.mark.parametrize("place", ["x: plane()", "G: ", "fake: G(z)", "fool:"])
def test_a_name_means_one_thing(place: str, name: str) -> None:
    key, _colon, _rest = place.partition(":")
    if key == name:
        return
    section = {"x": "data: {", "G": "networks: {", "fake": "values: {", "fool": "losses: {"}[key]
    body = {"x": "plane()", "G": "mlp()", "fake": "l1(x, z)", "fool": "l1(x, z)"}[key]
    text = SPEC.replace(section, f'{section}{name}: "{body}", ', 1)
    if SPEC.split(section)[1].split("}")[0].find(f"{name}:") >= 0:
        assert "GG103" in _syntax(text)
    else:
        assert "GG411" in codes(text)


def _syntax(text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        parse_text(text, name="names.yaml")
    return [problem.code for problem in error.value.problems]


@pytest.mark.parametrize(
    "name",
    [
        "mean", "cat", "grad", "held", "history", "average", "matrices", "sum", "trained", "file", "linear",
        "uniform", "l1",
    ],
)  # fmt: skip
def test_a_network_is_not_called_in_the_place_of_something_else(name: str) -> None:
    assert "GG411" in codes(SPEC.replace("networks: {", f'networks: {{{name}: "mlp(widths=[8])", '))


def test_a_source_called_all_could_not_be_drawn_alone() -> None:
    assert "GG411" in codes(SPEC.replace("data: {", "data: {all: normal(2), "))


def test_a_static_name_is_no_value() -> None:
    assert "GG411" in codes(SPEC.replace("networks: {", "let: {fake: 3}\nnetworks: {"))


def test_a_value_of_the_evaluation_replaces_a_value_and_nothing_else() -> None:
    assert codes(SPEC.replace("  samples: 4", "  samples: 4\n  values: {fake: G(z) * 2}")) == []
    assert codes(SPEC.replace("  samples: 4", "  samples: 4\n  values: {fool: G(z) * 2}")) == ["GG411"]


def test_norm_none_works_in_every_shipped_network_that_takes_a_norm() -> None:
    networks = {path.stem: yaml.safe_load(path.read_text()) for path in Path("specs/networks").glob("*.yaml")}
    taking = [name for name, network in networks.items() if "norm" in network.get("params", {})]
    assert len(taking) > 3
    for name in taking:
        assert codes(SPEC.replace("networks: {", f'networks: {{N: "{name}(norm=none)", ')) == [], name


@pytest.mark.parametrize("turn", range(0, len(BORROWED), 4))
def test_a_name_is_no_other_thing_of_that_name(turn: int) -> None:
    """Each name in a role of its own, and in another with each turn: the step and the look give numbers."""
    roles = dict.fromkeys(ROLE_NAMES)
    names = {role: BORROWED[(turn + 7 * place) % len(BORROWED)] for place, role in enumerate(roles)}
    made = Trainer(resolve(parse_text(ROLES.format(**names), name="roles.yaml")), device="cpu")
    seen = made.evaluate()
    assert seen is not None
    assert [*made.step()] == [names["judge"], names["fool"]]
    assert all(math.isfinite(value) for value in (*made.step().values(), *seen.metrics.values()))


@pytest.mark.parametrize("name", ["self", "torch", "draw", "optimizers"])
def test_a_network_of_any_name_runs_and_its_code_runs(name: str) -> None:
    spec = small(judge="logistic.critic(real=D(x), fake=D(fake)) + mean(returned)", more_values="  returned: D(x) ** 2")
    other = read(re.sub(r"\bD\b", name, spec.text))
    one, two = (trainer(each) for each in (spec, other))
    copy_parameters(one.networks["D"], two.networks[name])
    copy_parameters(one.networks["G"], two.networks["G"])
    x, z = (torch.randn(4, 2, dtype=torch.float64) for _ in range(2))
    first, second = (list(each.step({"x": x, "z": z}).values()) for each in (one, two))
    assert first == second
    compile(code_text(two.engine.program), "step", "exec")


def test_values_hide_nothing_in_printed_code() -> None:
    names = ("returned", "itself", "draw", "optimizers", "all")
    values = "\n".join(f"  {name}: detach(D(x))" if i else f"  {name}: D(x)" for i, name in enumerate(names))
    read_by = " + ".join(f"mean({name})" for name in names)
    spec = small(judge=f"logistic.critic(real=D(x), fake=D(fake)) + {read_by}", more_values=values)
    run = trainer(spec)
    text = code_text(run.engine.program)
    compile(text, "step", "exec")
    assert not re.search(r"^(draw|optimizers|all) = ", text, re.MULTILINE)
    assert "itdetach" not in text
