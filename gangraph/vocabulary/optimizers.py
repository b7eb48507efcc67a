"""Optimizers by name: those of torch.optim, and two of our own.

A plug-in adds its own with `gangraph.optimizer`: a class like torch's, whose `__init__` takes the parameters and
options with annotations.
"""

from torch import optim

from gangraph.registry import optimizer
from gangraph.vocabulary import optimizer_steps as steps
from gangraph.vocabulary.lbfgs import LBFGS
from gangraph.vocabulary.optimistic import OptimisticAdam, step_of

_COUNT = {"step": range(2**53)}  # steps of a parameter, which a float counts exactly
_NOT_NEGATIVE = (0.0, float("inf"))
_ADAM = {**_COUNT, "exp_avg_sq": _NOT_NEGATIVE}
_AMSGRAD = {**_ADAM, "max_exp_avg_sq": _NOT_NEGATIVE}

optimizer("adam", fused=True, differentiable=steps.adam, shapes_state=("amsgrad",), keeps=_AMSGRAD)(optim.Adam)
optimizer("adamw", fused=True, differentiable=steps.adam, shapes_state=("amsgrad",), keeps=_AMSGRAD)(optim.AdamW)
optimizer("adamax", keeps={**_COUNT, "exp_inf": _NOT_NEGATIVE})(optim.Adamax)
optimizer("nadam", keeps={**_ADAM, "mu_product": (0, 1)})(optim.NAdam)
optimizer("radam", keeps=_ADAM)(optim.RAdam)
optimizer(
    "rmsprop",
    differentiable=steps.rmsprop,
    shapes_state=("centered", "momentum"),
    keeps={**_COUNT, "square_avg": _NOT_NEGATIVE},
)(optim.RMSprop)
optimizer("sgd", fused=True, differentiable=steps.sgd, shapes_state=("momentum",))(optim.SGD)
optimizer(
    "adagrad",
    fused=True,
    differentiable=steps.adagrad,
    at_start=("initial_accumulator_value",),
    keeps={**_COUNT, "sum": _NOT_NEGATIVE},
)(optim.Adagrad)
optimizer("adadelta", keeps={**_COUNT, "square_avg": _NOT_NEGATIVE, "acc_delta": _NOT_NEGATIVE})(optim.Adadelta)
optimizer("optimistic_adam", differentiable=step_of, keeps=_ADAM)(OptimisticAdam)
optimizer("lbfgs", reevaluates=True, at_start=("history_size",), keeps=LBFGS.keeps, refuses_state=LBFGS.refuses_state)(
    LBFGS
)
