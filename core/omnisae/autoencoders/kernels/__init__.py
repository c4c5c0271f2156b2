"""Kernels: the few inner loops that decide how fast everything is.

`select`, `narrow`, `products` and `rows` are numba's, for the CPU in fp32; `triton/` is for GPUs in fp32; `plain` is
PyTorch's, for every device and number, and the reference of the others. `device` says which take a tensor.
"""
