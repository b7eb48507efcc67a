"""L-BFGS as torch has it, with all that it keeps as tensors of its parameters, for checkpoints to hold."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn, optim

from gangraph.traits import OddState

_ROWS = ("old_dirs", "old_stps")  # of each pair of differences: of gradients, and of parameters
_VECTORS = ("d", "prev_flat_grad")
_NUMBERS = ("t", "H_diag", "prev_loss")
_COUNTS = ("n_iter", "func_evals")
_OF_ALL = (*_COUNTS, "count", "ro", *_NUMBERS)  # what stands beside each parameter, and is the same for all
_FINITE = (-sys.float_info.max, sys.float_info.max)


class LBFGS(optim.LBFGS):
    """Limited-memory BFGS (Liu and Nocedal 1989): torch's own step.

    torch keeps one state of lists and numbers for all parameters together. Here each parameter has its part of the
    vectors, the last `history_size` pairs of differences in rows of which `count` are in use, and all of the numbers.
    """

    keeps: ClassVar = {
        **dict.fromkeys((*_ROWS, *_VECTORS, "t", "prev_loss"), _FINITE),
        **dict.fromkeys((*_COUNTS, "count"), range(2**53)),
        **dict.fromkeys(("ro", "H_diag"), (0.0, _FINITE[1])),
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        counts = int(max_iter), int(max_eval) if max_eval is not None else None
        super().__init__(params, lr, *counts, tolerance_grad, tolerance_change, int(history_size), line_search_fn)
        self._numel()  # type: ignore[no-untyped-call]  # torch counts once and keeps the number
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"line_search_fn is {line_search_fn!r}, and there is none but 'strong_wolfe'")
        for name in ("max_iter", "history_size"):
            if self.param_groups[0][name] < 1:
                raise ValueError(f"{name} is {self.param_groups[0][name]}, and has to be at least 1")

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]  # torch leaves it untyped
        """A step. The closure evaluates the objective and leaves gradients in the parameters, as often as it is asked.

        What it raises leaves the state as it was, of which nothing is changed in place.
        """
        before, first = dict(self.state), self._group["params"][0]
        own = self._together()
        self.state.clear()
        self.state[first] = own
        try:
            loss = super().step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        except BaseException:
            self.state.clear()
            self.state.update(before)
            raise
        self.state.clear()
        self.state.update(self._apart(own))
        return loss

    @staticmethod
    def refuses_state(states: Sequence[Mapping[str, Tensor]]) -> Iterator[OddState]:
        """What no step has left: all parameters are stepped together, and no more pairs are in use than there are."""
        if not any(states):
            return
        for index, state in enumerate(states):
            if missing := next((name for name in _OF_ALL if name not in state), None):
                yield index, missing, "nothing", "a state of each parameter, or of none"
                return
            for name in (name for name in _OF_ALL if not torch.equal(state[name], states[0][name])):
                yield index, name, "another value than beside the first parameter", "the same beside all"
        evaluations, iterations, count = (int(states[0][name]) for name in ("func_evals", "n_iter", "count"))
        rows = len(states[0]["ro"])
        if iterations > evaluations:
            yield 0, "n_iter", f"{iterations} iterations", f"at most one for each of {evaluations} evaluations"
        if count > min(rows, iterations):
            yield 0, "count", f"{count} pairs", f"at most {rows}, and one for each of {iterations} iterations"

    @property
    def _group(self) -> dict[str, Any]:
        (group,) = self.param_groups
        return group

    def _together(self) -> dict[str, Any]:
        """The state as torch's step reads it; nothing where a parameter has none, or before the first iteration."""
        parameters, size = self._group["params"], int(self._group["history_size"])
        states = [self.state[p] for p in parameters if p in self.state]
        if len(states) < len(parameters):
            return {}
        first = states[0]
        found: dict[str, Any] = {name: int(first[name]) for name in _COUNTS}
        if not found["n_iter"]:
            return found
        begin, end = max(0, int(first["count"]) - size), int(first["count"])
        found |= {name: torch.cat([state[name].reshape(-1) for state in states]) for name in _VECTORS}
        for name in _ROWS:
            rows = ((state[name][begin:end], p.numel()) for state, p in zip(states, parameters, strict=True))
            parts = [each.reshape(end - begin, count) for each, count in rows]
            found[name] = list((torch.cat(parts, 1) if parts[1:] else parts[0]).unbind())
        found["ro"] = list(first["ro"][begin:end].unbind())
        return found | {name: float(first[name]) for name in _NUMBERS}

    def _apart(self, own: dict[str, Any]) -> Iterator[tuple[nn.Parameter, dict[str, Tensor]]]:
        """The state of each parameter, after torch's step has left its own."""
        size, offset = int(self._group["history_size"]), 0
        for p in self._group["params"]:
            part = slice(offset, offset + p.numel())
            offset += p.numel()
            state: dict[str, Tensor] = {name: torch.tensor(own.get(name, 0)) for name in _COUNTS}
            state["count"] = torch.tensor(len(own.get("ro", ())))
            for name in _VECTORS:
                state[name] = own[name][part].reshape(p.shape).clone() if name in own else torch.zeros_like(p.detach())
            for name in _ROWS:
                state[name] = p.detach().new_zeros((size, *p.shape))
                for row, vector in enumerate(own.get(name, ())):
                    state[name][row] = vector[part].reshape(p.shape)
            state["ro"] = p.detach().new_zeros(size)
            for row, number in enumerate(own.get("ro", ())):
                state["ro"][row] = number
            numbers = {name: float(own.get(name, 0.0)) for name in _NUMBERS}
            yield p, state | {name: torch.tensor(number, dtype=p.dtype) for name, number in numbers.items()}
