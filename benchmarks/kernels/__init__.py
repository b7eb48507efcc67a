"""Checks and timings of the kernels: `gangraph bench kernels`."""
