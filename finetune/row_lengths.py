"""What to do with an example that is longer than `max_length`: stop, leave it out, or shorten its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_gen.examples import Example
from finetune.tokens import load_tokens, tokenize
from icd10cm.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def fit_rows(
    examples: Sequence[Example], tokenizer: Any, max_length: int | None, too_long: str
) -> tuple[Sequence[Example], Dataset, int]:
    """Return the examples that fit, their token ids and labels, and how many were longer than `max_length` tokens.

    Args:
        examples: rows of a stage.
        tokenizer: of the model to train.
        max_length: most tokens of a row, prompt, template and completion together; any when None.
        too_long: `error`, `drop`, or `truncate`: the end of the text is cut off, the codes are not.

    Raises:
        DataError: an example is too long and the policy is `error`, or its codes alone are.
    """
    tokens = load_tokens(examples, tokenizer)
    lengths = count_tokens(tokens)
    over = [place for place, length in enumerate(lengths) if max_length and length > max_length]
    if not over or max_length is None:
        return examples, tokens, 0
    if too_long == "error":
        worst = max(over, key=lengths.__getitem__)
        raise DataError(
            f"{len(over)} of {len(examples)} examples are longer than max_length {max_length} tokens (the longest, "
            f"{examples[worst].id}, has {lengths[worst]}); raise max_length, or set too_long to drop or truncate"
        )
    places = set(over)
    if too_long == "drop":
        kept = [example for place, example in enumerate(examples) if place not in places]
    else:
        kept = [
            shorten(example, tokenizer, max_length) if place in places else example for place, example in enumerate(examples)
        ]
    return kept, load_tokens(kept, tokenizer), len(over)


def count_tokens(tokens: Dataset) -> list[int]:
    """Return the length of each row in tokens."""
    import pyarrow.compute as pc

    return pc.list_value_length(tokens.with_format("arrow")[:]["input_ids"]).to_pylist()


def shorten(example: Example, tokenizer: Any, max_length: int) -> Example:
    """Return the example with as much of its text, from the start, as fits into `max_length` tokens.

    Raises:
        DataError: it does not fit without any text.
    """
    fits, too_many = 0, len(example.text)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _count(example, middle, tokenizer) <= max_length:
            fits = middle
        else:
            too_many = middle
    if not fits and _count(example, 0, tokenizer) > max_length:
        raise DataError(f"example {example.id}: its codes alone are longer than max_length {max_length} tokens; raise it")
    return example._replace(text=example.text[:fits])


def _count(example: Example, n_letters: int, tokenizer: Any) -> int:
    ((ids, _),) = tokenize([example._replace(text=example.text[:n_letters])], tokenizer)
    return len(ids)
