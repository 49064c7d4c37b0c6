"""Which examples of a data file are answered, and what is known about the file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_gen.examples import SCENARIOS, Example, group_by_scenario
from data_gen.restricted import is_restricted
from icd10cm.codeset import CodeSet
from icd10cm.config import suggest_name
from icd10cm.errors import ConfigError, DataError
from icd10cm.run_header import read_header

_INHERITED = ("restricted", "corpus", "release")


def select_examples(
    examples: Sequence[Example],
    scenarios: Sequence[str],
    limit: int,
    source: Path,
    sample: int = 0,
    seed: int = 0,
    sample_of: Mapping[str, int] | None = None,
) -> list[Example]:
    """Return the examples to answer, in the order of the data.

    Args:
        examples: the whole data.
        scenarios: only these; all when empty.
        limit: only the first of each scenario; 0 for all.
        source: where they are from, for errors.
        sample: so many of each scenario, drawn from all of it; 0 for all. A smaller sample is part of a larger one.
        seed: of the sample.
        sample_of: another number than `sample` for some scenarios.

    Raises:
        ConfigError: a scenario does not exist.
        DataError: nothing is left, two examples have the same id, or one has a scenario that does not exist; names rows,
            since an id may be that of a restricted text.
    """
    check_scenarios(scenarios, "scenarios")
    seen: Counter[str] = Counter()
    selected: dict[str, Example] = {}
    rows: dict[str, int] = {}
    for row, example in enumerate(examples, 1):
        if example.scenario not in SCENARIOS:
            near = suggest_name(example.scenario, SCENARIOS)
            raise DataError(f"{source}, row {row}: unknown scenario {example.scenario!r}{near}")
        if scenarios and example.scenario not in scenarios:
            continue
        seen[example.scenario] += 1
        if limit and seen[example.scenario] > limit:
            continue
        if example.id in selected:
            raise DataError(f"{source}, row {row}: has the id of row {rows[example.id]}; ids must differ")
        selected[example.id], rows[example.id] = example, row
    if not selected:
        raise DataError(f"{source}: holds no example" + (f" of {', '.join(scenarios)}" if scenarios else ""))
    chosen = list(selected.values())
    return _draw_sample(chosen, sample, seed, sample_of or {}) if sample or sample_of else chosen


def check_scenarios(scenarios: Sequence[str], key: str) -> None:
    """Raise `ConfigError` where one of the scenarios that the setting `key` names does not exist."""
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            raise ConfigError(f"'{key}': no scenario {scenario!r}{suggest_name(scenario, SCENARIOS)}")


def compare_releases(examples: Sequence[Example], codes: CodeSet, source: Path) -> list[str]:
    """Return a warning where examples are of another release than `codes`, or have right codes that nobody could answer."""
    others = sorted({example.release for example in examples} - {"", codes.release})
    n_lost = sum(not all(map(codes.is_billable, example.codes)) for example in examples)
    if not others and not n_lost:
        return []
    named = f"release {', '.join(others)}" if others else "no stated release"
    return [
        f"{source}: examples of {named}, but the codes of release {codes.release} are loaded; "
        f"{n_lost:,} of {len(examples):,} examples have a code that it lacks"
    ]


def inherit_header(data: Path) -> dict[str, Any]:
    """Return what predictions take over from their data, marked or with a `run.json` beside it: whether texts may be shown, and
    the name.

    Raises:
        DataError: there is one, but it cannot be read, so that nobody knows.
    """
    path = data.with_name("run.json")
    header = read_header(path) if path.is_file() else {}
    found = {key: header[key] for key in _INHERITED if key in header and header.get("stage") != "eval.predict"}
    return {"restricted": is_restricted(data), "corpus": found.get("corpus"), "data_header": found}


def _draw_sample(examples: Sequence[Example], size: int, seed: int, size_of: Mapping[str, int]) -> list[Example]:
    """Return `size` examples of each scenario, or what `size_of` says: those of the lowest hashes, in their order."""
    hashes = {example.id: hashlib.sha256(f"{seed} {example.id}".encode()).digest() for example in examples}
    drawn = {
        example.id
        for scenario, group in group_by_scenario(examples).items()
        for example in sorted(group, key=lambda example: hashes[example.id])[: size_of.get(scenario, size) or None]
    }
    return [example for example in examples if example.id in drawn]
