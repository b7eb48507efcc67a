"""One thread a test: the tests run side by side, and sums in one order are the same everywhere."""

import os

import torch

torch.set_num_threads(1)
torch.backends.cudnn.allow_tf32 = False  # convolutions on CUDA are compared in float32
if not torch.cuda.is_available():  # Triton reads this when it decorates a kernel, so before any of gangraph is imported
    os.environ["TRITON_INTERPRET"] = "1"
