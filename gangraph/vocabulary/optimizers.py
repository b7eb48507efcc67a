"""Optimizers by name: those of torch.optim, and two of our own.

A plug-in adds its own with `gangraph.optimizer`: a class like torch's, whose `__init__` takes the parameters and
options with annotations.
"""

from torch import optim

from gangraph.registry import optimizer
from gangraph.vocabulary import optimizer_steps as steps
from gangraph.vocabulary.lbfgs import LBFGS
from gangraph.vocabulary.optimistic import OptimisticAdam, step_of

optimizer("adam", fused=True, differentiable=steps.adam, shapes_state=("amsgrad",))(optim.Adam)
optimizer("adamw", fused=True, differentiable=steps.adam, shapes_state=("amsgrad",))(optim.AdamW)
optimizer("adamax")(optim.Adamax)
optimizer("nadam")(optim.NAdam)
optimizer("radam")(optim.RAdam)
optimizer("rmsprop", differentiable=steps.rmsprop, shapes_state=("centered", "momentum"))(optim.RMSprop)
optimizer("sgd", fused=True, differentiable=steps.sgd, shapes_state=("momentum",))(optim.SGD)
optimizer("adagrad", fused=True, differentiable=steps.adagrad, at_start=("initial_accumulator_value",))(optim.Adagrad)
optimizer("adadelta")(optim.Adadelta)
optimizer("optimistic_adam", differentiable=step_of)(OptimisticAdam)
optimizer("lbfgs", reevaluates=True, at_start=("history_size",))(LBFGS)
