"""Kernels in C for what PyTorch does in many passes over memory on a CPU."""
