"""The examples that one stage sees: scenarios selected and repeated, a slice for validation, one release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from data_gen.examples import Example, read_examples
from data_gen.restricted import is_restricted
from icd10cm.conditions import split_conditions
from icd10cm.errors import DataError


class StageData(NamedTuple):
    """What one stage sees: training examples in file order with repeats, a fixed slice for validation, and their release.

    Attributes:
        restricted: whether any of the files says that its texts may not be shown.
    """

    train: list[Example]
    validation: list[Example]
    files: tuple[Path, ...]
    release: str | None
    restricted: bool = False

    def name_example(self, example: Example) -> str:
        """Return how a message names an example: by its id, or by its row where that may be an id of a restricted text."""
        if not self.restricted:
            return f"example {example.id}"
        rows = ((file, row, found) for file in self.files for row, found in enumerate(read_examples(file), 1))
        return next((f"{file.name}, row {row}" for file, row, found in rows if found.id == example.id), "an example")


def load_stage_data(
    folder: Path, scenarios: Sequence[str] | None, repeats: dict[str, int], validation_size: int, lists: str = "whole"
) -> StageData:
    """Read the data folder of `data_gen.generate` for one stage.

    Args:
        folder: has `train.parquet` and `validation.parquet`.
        scenarios: those wanted; all when None.
        repeats: scenario to the times each of its examples is seen; once for others.
        validation_size: most validation examples.
        lists: whether to teach lists `whole`, by their `conditions`, or `both`; conditions of the same text and code once.

    Raises:
        DataError: a file is missing, no example is of the wanted scenarios, or the examples are of several releases.
    """
    files = (folder / "train.parquet", folder / "validation.parquet")
    found, validation = read_examples(files[0]), _select(read_examples(files[1]), scenarios)
    train = _select(found, scenarios)
    if not train:
        raise DataError(f"{files[0]}: no example of scenario {', '.join(scenarios or ['any'])}")
    for example in train:
        if not example.codes:
            raise DataError(f"{files[0]}, row {found.index(example) + 1}: has no codes")
    conditions = cut_lists(train) if lists != "whole" else []
    if lists == "conditions":
        train = [example for example in train if not _cut_list(example)]
    repeated = [example for example in train for _ in range(repeats.get(example.scenario, 1))] + conditions
    release = _read_release([*train, *validation], folder)
    return StageData(repeated, _spread(validation, validation_size), files, release, any(map(is_restricted, files)))


def count_scenarios(examples: Sequence[Example]) -> dict[str, int]:
    """Return how many examples there are of each scenario."""
    return dict(Counter(example.scenario for example in examples))


def cut_lists(examples: Iterable[Example]) -> list[Example]:
    """Return the conditions of the lists that plainly set all of theirs apart, each text with its code once."""
    found: dict[tuple[str, str], Example] = {}
    for example in examples:
        for number, (text, code) in enumerate(_cut_list(example), 1):
            found.setdefault((text, code), example._replace(id=f"{example.id}-{number}", text=text, codes=(code,)))
    return list(found.values())


def _cut_list(example: Example) -> list[tuple[str, str]]:
    """Return the conditions of a list and their codes; none for other texts, and where it does not set each apart."""
    if example.scenario != "multiple":
        return []
    conditions = split_conditions(example.text)
    return list(zip(conditions, example.codes, strict=True)) if len(conditions) == len(example.codes) else []


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
