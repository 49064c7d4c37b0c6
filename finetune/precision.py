"""Which arithmetic a CPU trains in: bf16 only where it has instructions for it.

A CPU without them imitates bf16: on one with AVX-512 alone a product of 3,000 x 256 and 256 x 768 took 46 ms and 14 ms in
float32, and the demo's second stage made one step a second instead of seven. With AMX bf16 is the faster of the two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from icd10cm.entry import say
from icd10cm.processor import has_bf16_arithmetic


def avoid_slow_bf16(values: Mapping[str, Any]) -> list[str]:
    """Return the override that trains in float32 where this CPU would imitate bf16, having said so; otherwise nothing.

    Args:
        values: the settings of a stage as given; a dry run is left alone, since its figures are of other machines.
    """
    wanted = _is_set(values, "bf16", default=not _is_set(values, "fp16"))
    if not wanted or not _is_set(values, "use_cpu") or _is_set(values, "dry_run") or has_bf16_arithmetic():
        return []
    if os.environ.get("RANK", "0") == "0":
        say("this CPU has no bf16 arithmetic and would only imitate it, slowly: training in float32")
    return ["--bf16", "false"]


def _is_set(values: Mapping[str, Any], key: str, default: bool = False) -> bool:
    value = values.get(key)
    return default if value is None else str(value).lower() in ("true", "1", "yes")
