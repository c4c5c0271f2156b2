"""Kernels for GPUs, in Triton. Nothing here is imported before a tensor lies on a GPU; see `kernels.device`.

All sums are fp32's, and none depends on the order in which programs finish: each number is written by one program.
Shapes of tiles are fixed, not tuned at run time, so that the same input gives the same bits on every run.
"""
