"""A check does not load torch's compiler, and leaves torch as it was."""

import subprocess
import sys

SCRIPT = """
import sys
import torch
from gangraph.check.uncompiled import without_compiler
from gangraph.pipeline import check_spec, load

check_spec(load("cyclegan", profile="quick"))
assert "torch._dynamo" not in sys.modules

with without_compiler():
    torch.empty(2, device="meta") * 0.5
    asked = sys.modules["torch._dynamo"].asked
    assert asked and all("__dynamo_disable" in vars(function) for function in asked)
    assert torch._dynamo.config.suppress_errors is False, "whoever asks for the compiler gets it"
import torch._dynamo
assert sys.modules["torch._dynamo"].__file__
assert not any("__dynamo_disable" in vars(function) for function in asked)
torch.empty(2, device="meta") * 0.5
assert any("__dynamo_disable" in vars(function) for function in asked), "now the compiler has been asked"
"""


def test_a_check_does_not_load_the_compiler_of_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


ASKED_BY_OTHERS = """
import importlib.util
import sys
import torch
from torch.nn import functional
from gangraph.check.uncompiled import without_compiler

def plain(x):
    return x

with without_compiler():
    torch.empty(2, device="meta") * 0.5
    assert importlib.util.find_spec("torch._dynamo") is not None
    import torch._dynamo as kept
    later = torch.compiler.disable(recursive=False)
    others = [torch.compiler.disable(each) for each in (plain, functional.conv2d, torch.nn.Linear)]
assert callable(later) and later(plain) is not plain
assert others[0] is not plain, "the compiler leaves alone what its author says, whenever that was said"
assert others[0](3) == 3
assert kept.disable(plain) is not plain, "what was imported meanwhile answers as the compiler afterwards"
assert torch._dynamo.__file__ and "torch._dynamo" in sys.modules
"""


def test_others_are_answered_by_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED_BY_OTHERS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
