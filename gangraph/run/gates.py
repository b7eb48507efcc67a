"""The gates of an update while it runs: what they remember, and how often each group stepped."""

from collections.abc import Callable, Mapping, Sequence

from gangraph.errors import RunError, SpecError
from gangraph.graph.update import ObjectiveGraph, UpdateGraph
from gangraph.language.expression.gates import Memory, decide, remembered
from gangraph.language.expression.model import Expression
from gangraph.language.expression.schedule import Clock

_ENTRY = ""  # where the gate of the whole update stands, beside those of its groups


class GateMemoryError(ValueError):
    """What a checkpoint holds is not what a gate remembers; the text begins with the gate's group."""


class Gates:
    """The gates of one update. Memory is state of the run, counts are for reports only."""

    def __init__(self, update: UpdateGraph) -> None:
        self.update = update
        self.memory: dict[str, Memory] = {}
        self.asked, self.stepped = 0, dict.fromkeys((each.group for each in update.objectives), 0)

    def open(self, clock: Clock, read: Callable[[str], float]) -> tuple[ObjectiveGraph, ...]:
        """The objectives whose groups step now; `read` gives the number of a loss.

        The gate of the whole update is decided first; while it is closed, those of the groups are not decided.

        Raises:
            RunError: a gate has no value.
        """
        if not self.update.gated:
            return self.update.objectives
        losses = {name: read(node) for name, node in self.update.watched}
        chosen: tuple[ObjectiveGraph, ...] = ()
        if self._decide(_ENTRY, self.update.timing.gate, clock, losses):
            chosen = tuple(
                each for each in self.update.objectives if self._decide(each.group, each.when, clock, losses)
            )
        self.asked += 1
        for each in chosen:
            self.stepped[each.group] += 1
        return chosen

    def _decide(self, name: str, gate: Expression | None, clock: Clock, losses: Mapping[str, float]) -> bool:
        if gate is None:
            return True
        try:
            decision, memory = decide(gate, clock, losses, self.memory.get(name, ()))
        except SpecError as error:
            raise RunError(f"a gate of update '{self.update.name}' has no value: {error}") from None
        if memory:
            self.memory[name] = memory
        return decision

    def shares(self) -> dict[str, float]:
        """By group with a gate, the share of the times since this was last asked for that the group stepped."""
        whole = self.update.timing.gate is not None
        gated = [each.group for each in self.update.objectives if whole or each.when is not None]
        found = {group: self.stepped[group] / self.asked for group in gated} if self.asked else {}
        self.asked, self.stepped = 0, dict.fromkeys(self.stepped, 0)
        return found

    def state(self) -> dict[str, list[bool | float]]:
        """What a checkpoint keeps."""
        return {name: [item for item in memory if item is not None] for name, memory in self.memory.items()}

    @property
    def remembers(self) -> bool:
        """Whether a gate of the update has anything to remember."""
        return bool(self._kinds())

    def _kinds(self) -> dict[str, tuple[type, ...]]:
        """What is remembered for each gate that remembers anything."""
        kinds = {name: remembered(gate) for name, gate in self.update.gates.items() if gate is not None}
        return {name: kind for name, kind in kinds.items() if kind}

    def verify(self, memory: Mapping[str, Sequence[bool | float]]) -> None:
        """Compare what a checkpoint kept with what these gates remember. Raises MisfitError."""
        kinds = self._kinds()
        for name, items in memory.items():
            found, expected = tuple(map(type, items)), kinds.get(name)
            if found != expected:
                shown = [kind.__name__ for kind in expected] if expected is not None else "no such gate"
                raise GateMemoryError(f"{name}: found {list(items)}, expected {shown}")

    def restore(self, memory: Mapping[str, Sequence[bool | float]]) -> None:
        """Take back what a checkpoint kept."""
        self.memory = {name: tuple(items) for name, items in memory.items()}
