"""Whether a checkpoint fits a program: names, shapes, types and ranges are compared before anything is loaded."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from gangraph.check.phase import Checked
from gangraph.data.random import RandomSource
from gangraph.errors import CheckpointError
from gangraph.folder.checkpoint import Checkpoint
from gangraph.run.engine import Engine
from gangraph.run.gates import GateMemoryError
from gangraph.run.history import History
from gangraph.run.optimizer_state import keepings
from gangraph.run.saving import shared_names, tied_names
from gangraph.run.settings import PRECISIONS
from gangraph.run.tensor_kind import TensorKind
from gangraph.run.verify_numbers import verify_numbers
from gangraph.saved.state import FILE, damaged


def verify_checkpoint(engine: Engine, checkpoint: Checkpoint) -> None:
    """Compare a checkpoint with a program whose networks have storage, and then with its own digest.

    Raises:
        CheckpointError: it belongs to other networks or optimizers, or holds what no run could have saved.
    """
    _verify_state(engine, checkpoint)
    _verify_tensors(engine, checkpoint)
    checkpoint.verify_digest()


def verify_networks(checked: Checked, checkpoint: Checkpoint) -> None:
    """Compare the tensors of networks with those of a spec, before these have storage.

    Raises:
        CheckpointError: one is missing, too much, or of another shape or type.
    """
    dtype = PRECISIONS[checkpoint.state.trained.precision]
    every = {name: model.module for name, model in checked.networks.items()}
    averages = {name: every[each.of] for name, each in checked.graph.averages.items() if each.of in every}
    modules = {name: module for name, module in every.items() if not checked.networks[name].graph.spec.frozen}
    tied = tied_names(checked.tied_parts)
    for name, kind in _module_kinds({"network": modules, "average": averages}, torch.get_default_dtype(), dtype):
        if not name.startswith(tied):
            _verify_kind(checkpoint, name, (kind,))


def verify_module(checkpoint: Checkpoint, prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """The tensors under a prefix such as `network/G/`, which are found to be those of a module.

    Raises:
        CheckpointError: one is missing, too much, or of another shape or type.
    """
    kind, name, _ = prefix.split("/", 2)
    found = checkpoint.part(prefix)
    shown = replace(checkpoint, tensors={f"{prefix}{path}": tensor for path, tensor in found.items()})
    saved = PRECISIONS[checkpoint.state.trained.precision]
    expected = dict(_module_kinds({kind: {name: module}}, torch.get_default_dtype(), saved))
    _verify_names(shown, expected)
    for key, each in expected.items():
        _verify_kind(shown, key, (each,))
    checkpoint.verify_digest()
    return found


def _verify_state(engine: Engine, checkpoint: Checkpoint) -> None:
    """Compare the names in a state with those of a program, and numbers with their allowed ranges."""
    state, draws, plan = checkpoint.state, engine.draws, engine.program.plan

    def refuse(why: str) -> CheckpointError:
        return damaged(checkpoint.folder, FILE, why)

    shared = shared_names(plan.checked.tied_parts)
    for name in (*state.shared, *shared):
        if state.shared.get(name) != shared.get(name):
            found, expected = state.shared.get(name, "nothing"), shared.get(name, "no such key")
            raise refuse(f"shared.{name}: found {found}, expected {expected}")
    streams = [name for name, source in draws.sources.items() if not isinstance(source, RandomSource)]
    for name in state.positions.keys() - streams:
        raise refuse(f"positions.{name}: the spec has no such stream of data; it has {', '.join(streams) or 'none'}")
    if state.step > state.trained.phase_start:
        for name in {*streams}.intersection(plan.sources) - state.positions.keys():
            raise refuse(f"the key 'positions.{name}' is missing, of a stream that every step draws")
    for name in state.histories.keys() ^ engine.histories.keys():
        raise refuse(f"histories.{name}: expected the histories {', '.join(engine.histories) or 'of none'}")
    for name, pool in state.histories.items():
        size = engine.histories[name].size
        if pool.count > size or bool(pool.count) != bool(pool.calls and size):
            found = f"{pool.count} samples after {pool.calls} calls"
            raise refuse(f"histories.{name}.count: found {found}, expected up to {size}")
    _verify_gates(engine, checkpoint)


def _verify_gates(engine: Engine, checkpoint: Checkpoint) -> None:
    def refuse(why: str) -> CheckpointError:
        return damaged(checkpoint.folder, FILE, why)

    state = checkpoint.state
    expected = len(engine.gates)
    if len(state.gates) != expected and (state.gates or any(gates.remembers for gates in engine.gates)):
        raise refuse(f"gates: found {len(state.gates)}, expected one for each of {expected} updates")
    for number, (gates, memory) in enumerate(zip(engine.gates, state.gates, strict=False)):
        try:
            gates.verify(memory)
        except GateMemoryError as error:
            raise refuse(f"gates.{number}.{error}") from None


def _verify_tensors(engine: Engine, checkpoint: Checkpoint) -> None:
    """Compare every tensor with the one that a program has in its place, then what is in it."""
    modules = {"network": engine.networks.stored, "average": engine.networks.averages}
    own, saved = engine.settings.dtype, PRECISIONS[checkpoint.state.trained.precision]
    tied = tied_names(engine.program.plan.checked.tied_parts)
    expected: dict[str, tuple[TensorKind, ...]] = {}
    expected |= {name: (kind,) for name, kind in _module_kinds(modules, own, saved) if not name.startswith(tied)}
    for name, history in engine.histories.items():
        if checkpoint.state.histories[name].count:
            expected[f"history/{name}/samples"] = _pool_kinds(engine, name, history, checkpoint)
    expected |= {f"state/{n}": (TensorKind.of(t).under(own, saved),) for n, t in engine.states.tensors.items()}
    optional: dict[str, tuple[TensorKind, ...]] = {}
    for group, parameters in engine.parameters.items():
        kinds = [TensorKind.of(parameter).under(own, saved) for parameter in parameters]
        keeping = keepings(engine.graph.spec.optimizers[group], engine.entries[group], len(parameters))
        kept_of = {pair: pair[0].of(pair[1]) for pair in dict.fromkeys(zip(keeping, kinds, strict=True))}
        for index, pair in enumerate(zip(keeping, kinds, strict=True)):
            kept, prefix = kept_of[pair], f"optimizer/{group}/{index}."
            found = {key for key in kept.possible if f"{prefix}{key}" in checkpoint.tensors}
            for key, of in kept.possible.items():
                needed = key in kept.always or (key in kept.usual and bool(found))
                (expected if needed else optional)[f"{prefix}{key}"] = (of,)
    _verify_names(checkpoint, expected, optional)
    known = expected | optional
    for name in checkpoint.tensors:
        _verify_kind(checkpoint, name, known[name])
    verify_numbers(engine, checkpoint)


def _module_kinds(
    modules: Mapping[str, Mapping[str, nn.Module]], own: torch.dtype, saved: torch.dtype
) -> Iterator[tuple[str, TensorKind]]:
    """The tensors of networks by their names in a checkpoint, as a run in the precision `saved` has them."""
    for kind, each in modules.items():
        for name, module in each.items():
            for path, tensor in module.state_dict().items():
                yield f"{kind}/{name}/{path}", TensorKind.of(tensor).under(own, saved)


def _pool_kinds(engine: Engine, name: str, history: History, checkpoint: Checkpoint) -> tuple[TensorKind, ...]:
    """What the samples of a history may be; in mixed precision a value may have either type."""
    known = engine.program.plan.checked.types.nodes[engine.graph.nodes[name].inputs[0]]
    kind = TensorKind((history.size, *known.shape[1:]), known.dtype)
    kind = kind.under(torch.get_default_dtype(), PRECISIONS[checkpoint.state.trained.precision])
    mixed = checkpoint.state.trained.precision == "bf16" and kind.dtype.is_floating_point
    return (kind, replace(kind, dtype=torch.bfloat16)) if mixed else (kind,)


def _verify_names(checkpoint: Checkpoint, expected: Iterable[str], optional: Iterable[str] = ()) -> None:
    for name in expected:
        _require(checkpoint, name)
    if odd := next(iter(checkpoint.tensors.keys() - {*expected, *optional}), None):
        raise checkpoint.misfit(f"the spec has no place for '{odd}'. Was it changed since?")


def _require(checkpoint: Checkpoint, name: str) -> Tensor:
    if name not in checkpoint.tensors:
        raise checkpoint.misfit(f"'{name}' is missing. Was the spec changed since?")
    return checkpoint.tensors[name]


def _verify_kind(checkpoint: Checkpoint, name: str, kinds: tuple[TensorKind, ...]) -> None:
    """Make sure that a tensor is there, and of one of these kinds."""
    found = TensorKind.of(_require(checkpoint, name))
    if found not in kinds:
        raise checkpoint.misfit(f"'{name}': found {found}, expected {' or '.join(map(str, kinds))}")
