"""A CPU that would only imitate bf16 trains in float32, and says so."""

from __future__ import annotations

from typing import Any

import pytest

from finetune import precision
from finetune.precision import avoid_slow_bf16, has_bf16_arithmetic


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"use_cpu": True}, True),  # TRL's default is bf16
        ({"use_cpu": "true", "bf16": "true"}, True),
        ({"use_cpu": True, "bf16": False}, False),
        ({"use_cpu": True, "fp16": True}, False),
        ({"bf16": True}, False),
        ({"use_cpu": False, "bf16": True}, False),
        ({"use_cpu": True, "bf16": True, "dry_run": True}, False),
    ],
)
def test_bf16_is_turned_off_where_a_cpu_lacks_it(
    values: dict[str, Any], changed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "has_bf16_arithmetic", lambda: False)
    assert avoid_slow_bf16(values) == (["--bf16", "false"] if changed else [])
    assert ("float32" in capsys.readouterr().err) == changed


def test_bf16_stays_where_a_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16_arithmetic", lambda: True)
    assert avoid_slow_bf16({"use_cpu": True, "bf16": True}) == []


def test_arithmetic_is_what_the_kernel_says_of_this_cpu() -> None:
    from pathlib import Path

    flags = next((line.split() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("this kernel lists no x86 flags")
    assert has_bf16_arithmetic() == bool({"amx_bf16", "avx512_bf16"} & set(flags))
