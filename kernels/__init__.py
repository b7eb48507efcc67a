"""Fused Triton kernels for GAN training. A library by itself: imports nothing of gangraph."""
