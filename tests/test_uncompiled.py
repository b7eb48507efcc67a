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
