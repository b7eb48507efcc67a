"""One thread a test: the tests run side by side, and sums in one order are the same everywhere."""

import torch

torch.set_num_threads(1)
