"""Transformers in this process: batched greedy generation, constrained or not, on a GPU or a CPU.

engine = TransformersEngine(Path("outputs/demo/stage2/model"), CodeSet.load())
engine.generate(["T2DM w/ foot ulcer"])    # [Generation(text='E11.621', finish_reason='stop', score=…, error='')]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd10cm.codeset import CodeSet
from icd10cm.constraining import AnswerState, mask_rows
from serving.engines.base import Generation
from serving.prompting import build_automaton, load_tokenizer, read_answer_tokens, read_eos_ids, read_frame, tokenize

if TYPE_CHECKING:
    import torch


class TransformersEngine:
    """Greedy answers of a checkpoint, in batches of prompts of like length."""

    name = "transformers"

    def __init__(
        self,
        model: Path,
        codes: CodeSet | None,
        *,
        max_tokens: int = 256,
        batch_size: int = 64,
        dtype: str = "auto",
        progress: bool = True,
    ):
        """Load the checkpoint.

        Args:
            model: a checkpoint folder (see `serving.checkpoint.check_checkpoint`).
            codes: the release to which answers are limited; None for no limit.
            max_tokens: the most tokens an answer may have.
            batch_size: prompts generated at a time.
            dtype: `auto` (bfloat16 on a GPU that has it, otherwise float32), or a torch type.
            progress: whether to show a bar on stderr.
        """
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        fast = self._device == "cuda" and torch.cuda.is_bf16_supported()
        kind = getattr(torch, dtype) if dtype != "auto" else torch.bfloat16 if fast else torch.float32
        self._tokenizer = load_tokenizer(model)
        self._frame = read_frame(self._tokenizer, model)
        self._eos = read_eos_ids(self._tokenizer, model)
        self._automaton = build_automaton(self._tokenizer, model, codes.codes) if codes else None
        logging.disable_progress_bar()
        loaded: Any = AutoModelForCausalLM.from_pretrained(str(model), dtype=kind, local_files_only=True)
        self._model = loaded.to(self._device).eval()
        self._context = int(self._model.config.get_text_config().max_position_embeddings)
        self._max_tokens, self._batch_size, self._progress = max_tokens, batch_size, progress
        self._pad = self._eos[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return one completion per text, in order; a text that leaves no room for an answer gives an `error`."""
        from tqdm import tqdm

        prompts = tokenize(self._tokenizer, self._frame, texts)
        answers: list[Generation | None] = [None] * len(texts)
        for index, prompt in enumerate(prompts):
            if len(prompt) >= self._context:
                answers[index] = Generation("", "error", None, f"{len(prompt)} tokens, the model reads {self._context}")
        order = sorted((i for i, answer in enumerate(answers) if answer is None), key=lambda i: (-len(prompts[i]), i))
        with tqdm(total=len(order), desc="transformers", unit="text", leave=False, disable=not self._progress) as bar:
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                for index, answer in zip(batch, self._generate_batch([prompts[i] for i in batch]), strict=True):
                    answers[index] = answer
                bar.update(len(batch))
        return [answer for answer in answers if answer is not None]

    def _generate_batch(self, prompts: Sequence[list[int]]) -> list[Generation]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._pad)
        attention = torch.zeros((len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            attention[row, width - len(prompt) :] = 1
        limits = [min(self._max_tokens, self._context - len(prompt)) for prompt in prompts]
        watcher = _Watcher(self._automaton, limits, width)
        # the checkpoint's own generation settings (temperature, penalties) must not touch a greedy answer
        self._model.generation_config = GenerationConfig(eos_token_id=self._eos, pad_token_id=self._pad, do_sample=False)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids.to(self._device),
                attention_mask=attention.to(self._device),
                max_new_tokens=max(limits),
                logits_processor=LogitsProcessorList([watcher]),
            )
        watcher.score_last(written)
        rows = zip(written[:, width:].tolist(), limits, watcher.logprobs, strict=True)
        return [self._read_row(tokens[:limit], logprobs) for tokens, limit, logprobs in rows]

    def _read_row(self, tokens: list[int], logprobs: list[float]) -> Generation:
        end = next((place for place, token in enumerate(tokens, 1) if token in self._eos), len(tokens))
        return read_answer_tokens(self._tokenizer, self._eos, tokens[:end], sum(logprobs[:end]))


class _Watcher:
    """A logits processor: masks what leaves the code set and notes the log-probability, unmasked, of each token written."""

    def __init__(self, automaton: Any, limits: Sequence[int], width: int):
        self._answers = [AnswerState(automaton, limit) for limit in limits] if automaton else []
        self._width = width
        self._last: torch.Tensor | None = None
        self.logprobs: list[list[float]] = [[] for _ in limits]

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the masked copy of `scores` (batch, vocabulary) for the tokens `ids` (batch, prompt and answer so far)."""
        self.score_last(ids)
        self._last = scores
        if not self._answers:
            return scores
        for answer, tokens in zip(self._answers, ids[:, self._width :].tolist(), strict=True):
            answer.follow(tokens)
        masked = scores.clone()
        mask_rows(masked, range(len(masked)), [answer.allowed() for answer in self._answers])
        return masked

    def score_last(self, ids: torch.Tensor) -> None:
        """Note the log-probability of the last token of each row of `ids`."""
        if self._last is None:
            return
        chosen = self._last.gather(1, ids[:, -1:])[:, 0] - self._last.logsumexp(1)
        for logprobs, value in zip(self.logprobs, chosen.tolist(), strict=True):
            logprobs.append(value)
        self._last = None
