"""Lints: specs that are valid and most likely not what their author wants. Each has a code and a reason."""

from collections.abc import Callable, Iterator

from gangraph.check.infer import Types
from gangraph.check.lints.augmentation import augmented_on_one_side
from gangraph.check.lints.comparisons import certain_comparison
from gangraph.check.lints.coupling import coupling_grows, coupling_in_parts, mixing_under_penalty
from gangraph.check.lints.critics import saturating, trained_to_be_caught, unconstrained_critic
from gangraph.check.lints.elsewhere import unfamiliar_range
from gangraph.check.lints.found import found_in_each_file
from gangraph.check.lints.naming import unused
from gangraph.check.lints.older import older_names
from gangraph.check.lints.optimization import (
    averaged_buffers,
    held_for_nothing,
    in_two_groups,
    momentum_with_clipping,
    part_in_two_groups,
    shut_for_good,
    untrained,
    zero_rate,
)
from gangraph.check.lints.padding import last_step_of_padding
from gangraph.check.lints.ranges import (
    mean_beside_divergence,
    ranges_that_do_not_meet,
    sigmoid_before_logits,
    unstable_logarithm,
)
from gangraph.check.lints.rates import idle_rates
from gangraph.check.lints.states import late_for_a_state
from gangraph.check.lints.variables import moving_objective, moving_target
from gangraph.errors import Problem
from gangraph.graph.model import Graph

Lint = Callable[[Graph, Types], Iterator[Problem]]


def lint(graph: Graph, types: Types) -> list[Problem]:
    """Every lint's findings, each once."""
    return list(dict.fromkeys(problem for rule in LINTS for problem in rule(graph, types)))


LINTS: tuple[Lint, ...] = (
    mixing_under_penalty,
    coupling_in_parts,
    coupling_grows,
    unconstrained_critic,
    ranges_that_do_not_meet,
    sigmoid_before_logits,
    untrained,
    in_two_groups,
    part_in_two_groups,
    saturating,
    unused,
    averaged_buffers,
    trained_to_be_caught,
    held_for_nothing,
    momentum_with_clipping,
    unstable_logarithm,
    zero_rate,
    idle_rates,
    mean_beside_divergence,
    certain_comparison,
    shut_for_good,
    late_for_a_state,
    unfamiliar_range,
    moving_target,
    moving_objective,
    augmented_on_one_side,
    found_in_each_file,
    last_step_of_padding,
    older_names,
)
