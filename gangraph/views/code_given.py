"""What printed code takes as given: names that it does not define, and the networks in the forms that it calls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from gangraph.errors import listed
from gangraph.graph.code_names import Mode, module_name
from gangraph.lower.forms import NetworkForm
from gangraph.views.spec import fixity, table

if TYPE_CHECKING:
    from gangraph.plan.model import Plan


_KNOWN = {  # names that printed code does not define
    "draw(source)": "a new batch",
    "states[name]": "what the steps before left",
    "draw_noise(network, layer)": "what a random layer draws",
    "histories[name]": "past values; push(present) gives a mixture of both",
    "now(expression)": "a number that changes over time",
    "decide(update, losses)": "the groups whose gates are open; averages and switches in gates remember",
    "parameters_of(group)": "the parameters of an optimizer group",
    "optimizers[group]": "the optimizer itself",
}
RESERVED = {
    *(re.split(r"\W", call)[0] for call in _KNOWN),
    *("opened", "gradients", "after", "again", "once_more", "take", "kept", "look_ahead", "put_back"),
}  # names that no value may have


def given(plan: Plan, forms: Mapping[str, NetworkForm], text: str) -> Iterator[str]:
    """What the code of a step, `text`, takes as given: networks, functions, and forms of networks."""
    made = plan.checked.graph.networks.items()
    networks = dict.fromkeys(NetworkForm(network=form.network).name for form in forms.values())
    networks |= dict.fromkeys(module_name(name) for name in _averaged(plan))
    fixed = {module_name(name): network.spec for name, network in made if network.spec.weights}
    yield f"Given are the networks {listed(networks)}, and"
    used = [(call, about) for call, about in _KNOWN.items() if re.search(_opening(call), text)]
    yield from table(used, indent="    ")
    told = {each.name: each for form in forms.values() for each in _from_plain(form)}
    yield from filter(None, map(_about, told.values()))
    for name in (name for name in networks if name in fixed):
        yield f"{name} is from elsewhere, {fixity(fixed[name])}."


def _averaged(plan: Plan) -> Iterator[str]:
    """The averages that some update moves, and the networks that they follow."""
    for name, average in plan.checked.graph.averages.items():
        if any(average.of in update.differentiated for update in plan.updates):
            yield from (average.of, name)


def _from_plain(form: NetworkForm) -> tuple[NetworkForm, ...]:
    """A form after those that a reader has to know of first."""
    return (form.plain, form) if form.body is not None and form.mode is Mode.OUTPUT else (form,)


def _about(form: NetworkForm) -> str:
    """What a form of a network is; nothing for the network itself."""
    network, own = NetworkForm(network=form.network).name, form.asked(Mode.OUTPUT).name
    if form.mode is not Mode.OUTPUT:
        place = form.chosen.place if form.chosen is not None else ""
        which = f"the parameters of {form.network}.{place}" if place else f"all parameters of {form.plain.name}"
        return _ABOUT[form.mode].format(name=form.name, network=network, own=own, which=which)
    if form.body is not None:
        inside = Counter(fusion.kernel for fusion in form.body.fusions)
        calls = listed(f"{count} call{'s' * (count > 1)} of {kernel}" for kernel, count in inside.items())
        return f"{form.name} is {form.plain.name} with {calls} inside."
    return f"{form.name} is {network} over the same storage, with parameters that carry no gradient." * form.frozen


_ABOUT: Mapping[Mode, str] = {
    Mode.PARAMETERS: "{name}() gives {which} as one vector.",
    Mode.MATRIX: "{name}() gives {which} as a matrix [outputs, the rest].",
    Mode.GRADIENT: "{name}(value) gives the gradient of the value's sum with respect to {which}, as one vector.",
    Mode.STATE: "{name}() gives a copy of the buffers of {network}.",
    Mode.AGAIN: "{name} is {own} with the buffers that it is given; it leaves its own alone.",
    Mode.AHEAD: "{name} is {network} with the parameters and buffers that it is given.",
    Mode.AUTOREGRESSIVE: "{name} draws an image pixel by pixel, by a call of {own} for each.",
}


def _opening(call: str) -> str:
    """A pattern for where a call or an index begins: the text up to its bracket, as a word."""
    name = re.match(r"\w+.", call)
    return rf"\b{re.escape(name[0])}" if name else re.escape(call)
