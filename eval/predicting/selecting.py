"""Which examples of a data file are answered, and what is known about the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_gen.examples import SCENARIOS, Example
from data_gen.restricted import is_restricted
from icd10cm.codeset import CodeSet
from icd10cm.config import suggest_name
from icd10cm.errors import ConfigError, DataError
from icd10cm.run_header import read_header

_INHERITED = ("restricted", "corpus", "release")


def select_examples(examples: Sequence[Example], scenarios: Sequence[str], limit: int, source: Path) -> list[Example]:
    """Return the examples of `scenarios` (all when empty), the first `limit` of each (all for 0), in the order of the data.

    Raises:
        ConfigError: a scenario does not exist.
        DataError: nothing is left, two examples have the same id, or one has a scenario that does not exist; names rows,
            since an id may be that of a restricted text.
    """
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            raise ConfigError(f"'scenarios': no scenario {scenario!r}{suggest_name(scenario, SCENARIOS)}")
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
    return list(selected.values())


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
