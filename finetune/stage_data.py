"""Examples -> the rows that TRL trains on: prompt and completion, scenarios selected and repeated, lengths checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_gen.examples import Example, read_examples
from icd10cm.errors import DataError
from icd10cm.prompts import build_completion, build_prompt

if TYPE_CHECKING:
    from datasets import Dataset


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


def build_dataset(examples: Sequence[Example]) -> Dataset:
    """Return a dataset with TRL's `prompt` and `completion` columns."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt": [build_prompt(example.text) for example in examples],
            "completion": [build_completion(example.codes) for example in examples],
        }
    )


def count_tokens(examples: Sequence[Example], tokenizer: Any) -> list[int]:
    """Return the length of each example in tokens, prompt, template and completion together."""
    conversations = [build_prompt(example.text) + build_completion(example.codes) for example in examples]
    rendered = tokenizer.apply_chat_template(conversations, tokenize=False)
    return [len(ids) for ids in tokenizer(rendered, add_special_tokens=False)["input_ids"]]


def check_lengths(
    examples: list[Example], lengths: Sequence[int], max_length: int | None, too_long: str
) -> tuple[list[Example], int]:
    """Apply the policy for examples longer than `max_length` tokens; return what stays and how many were too long.

    Raises:
        DataError: an example is too long and the policy is `error`.
    """
    over = [length > max_length for length in lengths] if max_length else [False] * len(lengths)
    count = sum(over)
    if count and too_long == "error":
        worst = max(range(len(lengths)), key=lengths.__getitem__)
        raise DataError(
            f"{count} of {len(examples)} examples are longer than max_length {max_length} tokens (the longest, "
            f"{examples[worst].id}, has {lengths[worst]}); raise max_length, or set too_long to drop or truncate"
        )
    if too_long == "drop":
        return [example for example, is_over in zip(examples, over, strict=True) if not is_over], count
    return examples, count


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
