"""Greedy answers with the log-probabilities that decided them, so that two models' answers can be told apart from ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from finetune.validation import MAX_NEW_TOKENS_PER_CODE, encode_prompts, render_prompts

_MOST_TOKENS = 4 * MAX_NEW_TOKENS_PER_CODE


class Answer(NamedTuple):
    """One answer.

    Attributes:
        text: without special tokens.
        tokens: ids, the end included.
        logprobs: of the whole vocabulary at each token: a float16 array of shape (tokens, vocabulary).
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: Any

    def gap_to(self, place: int, token: int) -> float:
        """Return how much likelier the token at `place` was than another, in nats."""
        return float(self.logprobs[place, self.tokens[place]] - self.logprobs[place, token])


def answer_with_gaps(model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int) -> list[Answer]:
    """Return the model's greedy answer to each clinical text, in order."""
    import torch

    prompts = render_prompts(texts, tokenizer)
    answers: list[Answer] = []
    for start in range(0, len(prompts), batch_size):
        inputs = encode_prompts(prompts[start : start + batch_size], tokenizer, model.device)
        with torch.no_grad():
            output = model.generate(
                **inputs,
                max_new_tokens=_MOST_TOKENS,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        logprobs = torch.stack(output.logits, dim=1).float().log_softmax(dim=-1).cpu().numpy()
        written = output.sequences[:, inputs["input_ids"].shape[1] :].tolist()
        for row, tokens in enumerate(written):
            n = next((place for place, token in enumerate(tokens, 1) if token in _list_ends(model, tokenizer)), len(tokens))
            text = tokenizer.decode(tokens[:n], skip_special_tokens=True)
            answers.append(Answer(text, tuple(tokens[:n]), logprobs[row, :n]))
    return answers


def _list_ends(model: Any, tokenizer: Any) -> set[int]:
    declared = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
