"""Forms of networks: what code calls, and the modules that are made for it."""

import pytest
from torch import fx

from gangraph.graph.code_names import Mode
from gangraph.lower.forms import Body, NetworkForm
from gangraph.pipeline import check_phase, compile_phase
from gangraph.run.finite import NotFiniteError
from gangraph.views.code import code_text
from tests.support import small, trainer

NAMES = {
    "D": NetworkForm(network="D"),
    "D_frozen": NetworkForm(network="D", frozen=True),
    "F_1_again": NetworkForm(network="F[1]", mode=Mode.AGAIN),
    "D_frozen_state": NetworkForm(network="D", frozen=True, mode=Mode.STATE),
    "D_frozen_fused_2_again": NetworkForm(
        network="D", frozen=True, body=Body(label="fused_2", graph=fx.Graph()), mode=Mode.AGAIN
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_what_the_form_is(name: str) -> None:
    assert NAMES[name].name == name


def test_the_plain_form_has_the_layers_of_the_spec_and_gives_outputs() -> None:
    form = NAMES["D_frozen_fused_2_again"]
    assert form.plain == NAMES["D_frozen"]
    assert form.asked(Mode.OUTPUT).name == "D_frozen_fused_2"


def test_a_run_has_a_module_for_each_network_and_each_form_that_code_calls() -> None:
    engine = trainer(small()).engine
    assert set(engine.program.forms) == {"G", "D", "D_frozen"}
    assert engine.networks.callable.keys() == engine.program.forms.keys()
    assert engine.networks.callable["D_frozen"] is engine.networks.frozen["D"]


def test_code_draws_for_the_random_layers_of_an_average() -> None:
    spec = small(
        networks_g="{inputs: z, layers: 'linear(4), dropout(0.5), linear(2)'}",
        more_networks="  E: average(G, decay=0.9)",
        judge="logistic.critic(real=D(x), fake=D(E(z)))",
    )
    code = code_text(compile_phase(check_phase(spec, spec.phases[0])))
    assert 'draw_noise("E", "layers.dropout")' in code


def test_a_parameter_that_is_not_finite_is_told_by_the_name_of_its_network() -> None:
    family = {
        "more_networks": '  "F[k in 1..2]": {inputs: x, layers: "linear(2)"}',
        "judge": "mean(D(F[1](x))) + mean(D(F[2](x)))",
    }
    run = trainer(small("{update: d, minimize: judge}", "{update: g, minimize: fool}", **family))
    run.networks["F[2]"].get_parameter("layers.linear.bias").data.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match=r"F\[2\]\.layers\.linear\.bias"):
        run.step()
