"""What to do with an example that is longer than `max_length`: stop, leave it out, or shorten its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from data_gen.examples import Example
from finetune.stage_data import StageData
from finetune.tokens import load_tokens, tokenize
from icd10cm.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

_ROWS_AT_ONCE = 1000


def fit_rows(data: StageData, tokenizer: Any, max_length: int | None, too_long: str) -> tuple[Sequence[Example], Dataset, int]:
    """Return the training examples that fit, their token ids and labels, and how many were longer than `max_length` tokens.

    Args:
        data: of a stage, whose training rows are fitted; the tokens of restricted ones are kept in no cache.
        tokenizer: of the model to train.
        max_length: most tokens of a row, prompt, template and completion together; any when None.
        too_long: `error`, `drop`, or `truncate`: the end of the text is cut off, the codes are not.

    Raises:
        DataError: an example is too long and the policy is `error`, or its codes alone are.
    """
    examples = data.train
    tokens = load_tokens(examples, tokenizer, keep=not data.restricted)
    lengths = count_tokens(tokens)
    over = [place for place, length in enumerate(lengths) if max_length and length > max_length]
    if not over or max_length is None:
        return examples, tokens, 0
    if too_long == "error":
        worst = max(over, key=lengths.__getitem__)
        name = data.name_example(examples[worst])
        raise DataError(
            f"{len(over)} of {len(examples)} examples are longer than max_length {max_length} tokens (the longest, "
            f"{name}, has {lengths[worst]}); raise max_length, or set too_long to drop or truncate"
        )
    places = set(over)
    if too_long == "drop":
        fitting = [place for place in range(len(examples)) if place not in places]
        return [examples[place] for place in fitting], tokens.select(fitting), len(over)
    kept = list(examples)
    for start in tqdm(range(0, len(over), _ROWS_AT_ONCE), desc="shortening", leave=False, disable=len(over) <= _ROWS_AT_ONCE):
        chosen = over[start : start + _ROWS_AT_ONCE]
        rows = shorten([examples[p] for p in chosen], tokenizer, max_length, data.name_example)
        for place, shortened in zip(chosen, rows, strict=True):
            kept[place] = shortened
    return kept, load_tokens(kept, tokenizer, keep=not data.restricted), len(over)


def count_tokens(tokens: Dataset) -> list[int]:
    """Return the length of each row in tokens."""
    import pyarrow.compute as pc

    return pc.list_value_length(tokens.with_format("arrow")[:]["input_ids"]).to_pylist()


def shorten(
    examples: Sequence[Example], tokenizer: Any, max_length: int, name_example: Callable[[Example], str]
) -> list[Example]:
    """Return examples with as much of their texts, from the start, as fits into `max_length` tokens, to a token or two.

    Each round cuts off as many tokens of a text as its row has too many; the second or third finds that all fit.

    Raises:
        DataError: one does not fit without any text.
    """
    offsets = tokenizer([e.text for e in examples], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    ends = [[0, *(end for _, end in row)] for row in offsets]
    kept = [len(row) - 1 for row in ends]
    shortened = list(examples)
    while True:
        lengths = [len(ids) for ids, _ in tokenize(shortened, tokenizer)]
        over = [place for place, length in enumerate(lengths) if length > max_length]
        if not over:
            return shortened
        for place in over:
            if not kept[place]:
                name = name_example(examples[place])
                raise DataError(f"{name}: its codes alone are longer than max_length {max_length} tokens; raise it")
            kept[place] = max(kept[place] - (lengths[place] - max_length), 0)
            shortened[place] = examples[place]._replace(text=examples[place].text[: ends[place][kept[place]]])
