"""vLLM in this process: the same greedy answers as `transformers_engine`, many times faster on a GPU; draws besides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.checkpoint import Checkpoint
from serving.engines.base import NO_ALTERNATIVES, REPEATS, SWITCH, Alternatives, Generation, Sample, derive_seed
from serving.hardware import avoid_slow_bf16, build_cpu_options, build_vllm_environment, is_cpu_build, round_rank
from serving.prompting import AnswerReader, load_tokenizer, read_eos_ids, read_frame, tokenize

LONGEST_CONTEXT = 8192
"""Tokens of a prompt and its answer, where the checkpoint reads more."""


class VllmEngine:
    """Greedy answers of a checkpoint by vLLM's continuous batching."""

    name = "vllm"

    def __init__(
        self,
        checkpoint: Checkpoint,
        code_file: Path | None,
        *,
        constrained: bool = True,
        max_tokens: int = 256,
        dtype: str = "auto",
        gpu_memory_utilization: float = 0.85,
        alternatives: Alternatives = NO_ALTERNATIVES,
        progress: bool = True,
    ):
        """Load the checkpoint into vLLM.

        Args:
            checkpoint: facts of the checkpoint folder.
            code_file: file with the release to which answers are limited; the embedded release when None.
            constrained: whether answers are limited to existing codes.
            max_tokens: the most tokens an answer may have.
            dtype: `auto` (the checkpoint's own, but no bf16 on a CPU that only imitates it), or a torch type.
            gpu_memory_utilization: share of the GPU's memory to use.
            alternatives: other answers to give besides the greedy one: none or draws.
            progress: whether to show a bar on stderr.
        """
        os.environ.update(build_vllm_environment(code_file))
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import LLM

        model = checkpoint.path
        self._context = min(checkpoint.context, LONGEST_CONTEXT)
        checkpoint = avoid_slow_bf16(checkpoint) if dtype == "auto" else checkpoint
        options: dict[str, Any] = {"gpu_memory_utilization": gpu_memory_utilization}
        if is_cpu_build():
            options = build_cpu_options(checkpoint, self._context)
        options["dtype"] = checkpoint.dtype if dtype == "auto" else dtype
        if checkpoint.base:
            options |= {"enable_lora": True, "max_lora_rank": round_rank(checkpoint.rank)}
        self._adapter = str(model) if checkpoint.base else None
        self._llm = LLM(
            model=str(checkpoint.base or model),
            max_model_len=self._context,
            logits_processors=["serving.vllm_constraint:CodeConstraint"] if constrained else None,
            seed=0,
            use_tqdm_on_load=False,
            **options,
        )
        self._tokenizer = load_tokenizer(model)
        self._frame = read_frame(self._tokenizer, model)
        self._reader = AnswerReader(self._tokenizer, read_eos_ids(self._tokenizer, model))
        self._max_tokens, self._alternatives, self._progress = max_tokens, alternatives, progress

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return one completion per text, in order; a text that leaves no room for an answer gives an `error`."""
        prompts = tokenize(self._tokenizer, self._frame, texts)
        fitting = [index for index, prompt in enumerate(prompts) if len(prompt) < self._context]
        answers = [
            Generation("", "error", None, f"{len(prompt)} tokens, the model reads {self._context}") for prompt in prompts
        ]
        written = self._write([prompts[index] for index in fitting], [{"temperature": 0}] * len(fitting))
        drawn: list[tuple[Sample, ...]] = [()] * len(fitting)
        way, n, seed = self._alternatives
        if way == "sampling":
            draws = [{"temperature": 1, "n": n, "seed": derive_seed(seed, texts[index])} for index in fitting]
            drawn = [
                tuple(Sample(one.text, one.finish_reason, 1 / n, one.code_scores) for one in others)
                for others in self._write([prompts[index] for index in fitting], draws)
            ]
        for index, (answer,), samples in zip(fitting, written, drawn, strict=True):
            answers[index] = answer._replace(samples=samples)
        return answers

    def _write(self, prompts: Sequence[list[int]], options: Sequence[dict[str, Any]]) -> list[list[Generation]]:
        """Return for each prompt the answers that its `options` ask for."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.lora.request import LoRARequest

        outputs = self._llm.generate(
            [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts],
            [
                SamplingParams(
                    max_tokens=self._max_tokens, logprobs=0, detokenize=False, extra_args={SWITCH: REPEATS}, **chosen
                )
                for chosen in options
            ],
            use_tqdm=self._progress,
            lora_request=LoRARequest("adapter", 1, self._adapter) if self._adapter else None,
        )
        return [[self._read(written) for written in output.outputs] for output in outputs]

    def _read(self, written: Any) -> Generation:
        tokens = list(written.token_ids)
        logprobs = [step[token].logprob for step, token in zip(written.logprobs, tokens, strict=True)]
        return self._reader.read(tokens, logprobs)
