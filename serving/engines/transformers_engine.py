"""Transformers in this process: batched greedy generation, constrained or not, on a GPU or a CPU; draws and beams besides.

engine = TransformersEngine(Path("outputs/demo/stage2/model"), CodeSet.load())
engine.generate(["T2DM w/ foot ulcer"])    # [Generation(text='E11.621', finish_reason='stop', score=…, error='')]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icd10cm.codeset import CodeSet
from serving.engines.base import NO_ALTERNATIVES, Alternatives, Generation, Sample
from serving.engines.watchers import BeamWatcher, TokenWatcher, draw_uniforms, share_out
from serving.prompting import AnswerReader, build_automaton, load_tokenizer, read_eos_ids, read_frame, tokenize

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
        alternatives: Alternatives = NO_ALTERNATIVES,
        progress: bool = True,
    ):
        """Load the checkpoint.

        Args:
            model: a checkpoint folder (see `serving.checkpoint.check_checkpoint`).
            codes: the release to which answers are limited; None for no limit.
            max_tokens: the most tokens an answer may have.
            batch_size: prompts generated at a time.
            dtype: `auto` (bfloat16 on a GPU that has it, otherwise float32), or a torch type.
            alternatives: other answers to give besides the greedy one.
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
        self._reader = AnswerReader(self._tokenizer, self._eos)
        self._max_tokens, self._batch_size, self._progress = max_tokens, batch_size, progress
        self._alternatives = alternatives
        self._pad = self._eos[0] if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return one completion per text, in order; a text that leaves no room for an answer gives an `error`."""
        from tqdm import tqdm

        prompts = tokenize(self._tokenizer, self._frame, texts)
        answers = {
            index: Generation("", "error", None, f"{len(prompt)} tokens, the model reads {self._context}")
            for index, prompt in enumerate(prompts)
        }
        fitting = sorted((i for i in answers if len(prompts[i]) < self._context), key=lambda i: (-len(prompts[i]), i))
        way, n, _ = self._alternatives
        with tqdm(desc="transformers", unit="text", leave=False, disable=not self._progress) as bar:
            bar.reset(total=len(fitting) * (1 if way == "none" else 2))
            for batch in _split(fitting, self._batch_size):
                answers |= zip(batch, self._answer_batch([prompts[i] for i in batch]), strict=True)
                bar.update(len(batch))
            for batch in _split(fitting if way != "none" else (), max(1, self._batch_size // n)):
                write_others = self._draw_batch if way == "sampling" else self._search_batch
                samples = write_others([texts[i] for i in batch], [prompts[i] for i in batch])
                answers |= {i: answers[i]._replace(samples=others) for i, others in zip(batch, samples, strict=True)}
                bar.update(len(batch))
        return list(answers.values())

    def _answer_batch(self, prompts: Sequence[list[int]]) -> list[Generation]:
        """Return the greedy answers."""
        watcher = TokenWatcher(self._automaton, self._limit(prompts), max(map(len, prompts)))
        return self._read_watched(prompts, watcher)

    def _draw_batch(self, texts: Sequence[str], prompts: Sequence[list[int]]) -> list[tuple[Sample, ...]]:
        """Return for each text answers drawn at temperature 1."""
        _, n, seed = self._alternatives
        repeated = [prompt for prompt in prompts for _ in range(n)]
        draws = np.concatenate([draw_uniforms(seed, text, n, self._max_tokens) for text in texts])
        watcher = TokenWatcher(self._automaton, self._limit(repeated), max(map(len, prompts)), draws)
        drawn = self._read_watched(repeated, watcher)
        samples = [Sample(one.text, one.finish_reason, 1 / n, one.code_scores) for one in drawn]
        return [tuple(samples[start : start + n]) for start in range(0, len(samples), n)]

    def _search_batch(self, _texts: Sequence[str], prompts: Sequence[list[int]]) -> list[tuple[Sample, ...]]:
        """Return for each text the best answers of a beam search, best first."""
        n, limits, width = self._alternatives.n, self._limit(prompts), max(map(len, prompts))
        watcher = BeamWatcher(self._automaton, limits, width, n, self._eos)
        # without a penalty for length, beams are ordered by their probability
        beams = {"num_beams": n, "num_return_sequences": n, "length_penalty": 0.0, "early_stopping": False}
        rows = self._write(prompts, limits, watcher, **beams)[:, width:].tolist()
        searched = []
        for text, limit in enumerate(limits):
            ended = dict.fromkeys(tuple(self._end(tokens[:limit])) for tokens in rows[text * n : (text + 1) * n])
            sums = {tokens: watcher.sum_logprobs(text, tokens) for tokens in ended}
            found = sorted((tokens for tokens in sums if np.isfinite(sums[tokens])), key=lambda tokens: (-sums[tokens], tokens))
            read = [self._reader.read(tokens, ()) for tokens in found]
            shares = share_out([sums[tokens] for tokens in found]) if found else []
            searched.append(tuple(Sample(one.text, one.finish_reason, share) for one, share in zip(read, shares, strict=True)))
        return searched

    def _read_watched(self, prompts: Sequence[list[int]], watcher: TokenWatcher) -> list[Generation]:
        limits, width = self._limit(prompts), max(map(len, prompts))
        written = self._write(prompts, limits, watcher)
        watcher.score_last(written)
        ended = [self._end(tokens[:limit]) for tokens, limit in zip(written[:, width:].tolist(), limits, strict=True)]
        pairs = zip(ended, watcher.logprobs, strict=True)
        return [self._reader.read(tokens, logprobs[: len(tokens)]) for tokens, logprobs in pairs]

    def _write(self, prompts: Sequence[list[int]], limits: Sequence[int], watcher: Any, **options: Any) -> torch.Tensor:
        """Return prompts and answers as tokens of shape (rows, longest)."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._pad)
        attention = torch.zeros((len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            attention[row, width - len(prompt) :] = 1
        # the checkpoint's own generation settings (temperature, penalties) must not touch an answer
        self._model.generation_config = GenerationConfig(
            eos_token_id=self._eos, pad_token_id=self._pad, do_sample=False, **options
        )
        with torch.inference_mode():
            return self._model.generate(
                input_ids=ids.to(self._device),
                attention_mask=attention.to(self._device),
                max_new_tokens=max(limits),
                logits_processor=LogitsProcessorList([watcher]),
            )

    def _limit(self, prompts: Sequence[list[int]]) -> list[int]:
        """Return the most tokens that each answer may have."""
        return [min(self._max_tokens, self._context - len(prompt)) for prompt in prompts]

    def _end(self, tokens: list[int]) -> list[int]:
        """Return the tokens up to the first that ends an answer, that one included."""
        return tokens[: next((place for place, token in enumerate(tokens, 1) if token in self._eos), len(tokens))]


def _split(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
