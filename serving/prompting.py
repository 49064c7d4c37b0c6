"""What every engine does with a checkpoint's tokenizer: put a text into the chat template, and build the constraint.

Transformers, vLLM in process and the server's middleware all go through here, so that a text becomes the same tokens in each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.adapter_files import find_base, is_adapter
from icd10cm.constraint import TokenAutomaton, read_token_texts
from icd10cm.errors import CheckpointError
from icd10cm.prompts import build_prompt
from serving.engines.base import Generation, end_answer

_SENTINEL = "ICDTune Sentinel"
_PROBE = 'T2DM w/ foot ulcer,\n{{ x }} <b>"é"</b> 5 < 6'


class PromptFrame(NamedTuple):
    """What a chat template writes before and after the clinical text, and whether it writes the text in lower case."""

    prefix: str
    suffix: str
    lowers: bool = False

    def wrap(self, text: str) -> str:
        """Return the prompt for `text`."""
        written = text.strip().lower() if self.lowers else text.strip()
        return f"{self.prefix}{written}{self.suffix}"

    def holds(self, prompt: str) -> bool:
        """Whether `prompt` is in the template already."""
        return prompt.startswith(self.prefix) if self.prefix else prompt.endswith(self.suffix)


def load_tokenizer(path: Path) -> Any:
    """Return the tokenizer of a checkpoint folder, never asking a model hub. Raises `CheckpointError`."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for damaged files
        raise CheckpointError(f"{path}: its tokenizer cannot be loaded ({str(error)[:200]})") from None


def read_frame(tokenizer: Any, path: Path) -> PromptFrame:
    """Return the frame of the tokenizer's chat template. Raises `CheckpointError` when the template rewrites the text."""
    rendered = _render(tokenizer, _SENTINEL, path)
    lowers = _SENTINEL not in rendered
    prefix, found, suffix = rendered.partition(_SENTINEL.lower() if lowers else _SENTINEL)
    frame = PromptFrame(prefix, suffix, lowers)
    if not found or not (prefix or suffix) or frame.wrap(_PROBE) != _render(tokenizer, _PROBE, path):
        raise CheckpointError(
            f"{path}: its chat template does not hold the user's text once, as it is or in lower case; mend the template"
        )
    return frame


def tokenize(tokenizer: Any, frame: PromptFrame, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of the prompt for each text."""
    prompts = [frame.wrap(text) for text in texts]
    return tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"] if prompts else []


class AnswerReader:
    """Turns the tokens of an answer into its generation, with the score of each code."""

    def __init__(self, tokenizer: Any, eos_ids: Sequence[int]):
        self._tokenizer = tokenizer
        self._eos = frozenset(eos_ids)
        self._texts: dict[int, str] = {}

    def read(self, tokens: Sequence[int], logprobs: Sequence[float]) -> Generation:
        """Return the generation that `tokens` are, the end-of-sequence token included, with their log-probabilities."""
        stopped = bool(tokens) and tokens[-1] in self._eos
        text = self._tokenizer.decode(tokens[:-1] if stopped else tokens, skip_special_tokens=True)
        return end_answer(text, stopped=stopped, tokens=[self._spell(token) for token in tokens], logprobs=logprobs)

    def _spell(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._tokenizer.decode([token], skip_special_tokens=True)
        return self._texts[token]


def read_eos_ids(tokenizer: Any, path: Path) -> list[int]:
    """Return the ids that end an answer: the tokenizer's own and those of `generation_config.json`, which vLLM obeys too."""
    ids = {tokenizer.eos_token_id} - {None}
    config = (find_base(path) if is_adapter(path) else path) / "generation_config.json"
    if config.is_file():
        listed = json.loads(config.read_text(encoding="utf-8")).get("eos_token_id")
        ids |= set(listed) if isinstance(listed, list) else {listed} - {None}
    if not ids:
        raise CheckpointError(f"{path}: its tokenizer has no end-of-sequence token, so an answer would never end")
    return sorted(ids)


def build_automaton(tokenizer: Any, path: Path, codes: Iterable[str]) -> TokenAutomaton:
    """Return the automaton that keeps answers of the checkpoint at `path` within `codes`. Raises `CheckpointError`."""
    automaton = TokenAutomaton(codes, read_token_texts(tokenizer), read_eos_ids(tokenizer, path))
    if not len(automaton.allowed(TokenAutomaton.START)):
        raise CheckpointError(f"{path}: its tokenizer has no tokens that spell codes")
    return automaton


def _render(tokenizer: Any, text: str, path: Path) -> str:
    try:
        return tokenizer.apply_chat_template(build_prompt(text), tokenize=False, add_generation_prompt=True)
    except Exception as error:  # jinja2 and transformers raise many kinds
        raise CheckpointError(f"{path}: its chat template cannot be rendered ({str(error)[:200]})") from None
