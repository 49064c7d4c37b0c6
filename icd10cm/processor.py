"""What this machine's CPU can do."""

from __future__ import annotations

import functools


@functools.cache
def has_bf16_arithmetic() -> bool:
    """Whether this CPU multiplies bf16 numbers by instructions of its own (AMX, AVX-512 BF16, Arm's BF16)."""
    import torch

    return any(value is True for name, value in torch.cpu.get_capabilities().items() if "bf16" in name)
