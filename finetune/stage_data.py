"""The examples that one stage sees: scenarios selected and repeated, a slice for validation, one release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_gen.examples import Example, read_examples
from icd10cm.errors import DataError


class StageData(NamedTuple):
    """What one stage sees: training examples in file order with repeats, a fixed slice for validation, and their release."""

    train: list[Example]
    validation: list[Example]
    files: tuple[Path, ...]
    release: str | None


def load_stage_data(folder: Path, scenarios: Sequence[str] | None, repeats: dict[str, int], validation_size: int) -> StageData:
    """Read the data folder of `data_gen.generate` for one stage.

    Raises:
        DataError: a file is missing, no example is of the wanted scenarios, or the examples are of several releases.
    """
    files = (folder / "train.parquet", folder / "validation.parquet")
    train, validation = (_select(read_examples(file), scenarios) for file in files)
    if not train:
        raise DataError(f"{files[0]}: no example of scenario {', '.join(scenarios or ['any'])}")
    for example in train:
        if not example.codes:
            raise DataError(f"{files[0]}: example {example.id} has no codes")
    repeated = [example for example in train for _ in range(repeats.get(example.scenario, 1))]
    return StageData(repeated, _spread(validation, validation_size), files, _read_release([*train, *validation], folder))


def count_scenarios(examples: Sequence[Example]) -> dict[str, int]:
    """Return how many examples there are of each scenario."""
    return dict(Counter(example.scenario for example in examples))


def _select(examples: list[Example], scenarios: Sequence[str] | None) -> list[Example]:
    return examples if scenarios is None else [example for example in examples if example.scenario in scenarios]


def _read_release(examples: Sequence[Example], folder: Path) -> str | None:
    """Return the one release of all examples, None where they do not say."""
    releases = sorted({example.release for example in examples})
    if len(releases) > 1:
        raise DataError(
            f"{folder}: examples of several releases ({', '.join(name or 'none' for name in releases)}); train on one"
        )
    return releases[0] or None


def _spread(examples: list[Example], size: int) -> list[Example]:
    """Return at most `size` examples, evenly spaced so that every scenario keeps its share."""
    if len(examples) <= size:
        return examples
    return [examples[index * len(examples) // size] for index in range(size)]
