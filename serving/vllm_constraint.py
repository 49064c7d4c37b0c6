"""A logits processor for vLLM that lets every answer hold existing codes only, each once, without anything in the request.

    python -m vllm.entrypoints.openai.api_server --model P --logits-processors serving.vllm_constraint:CodeConstraint

`serving.serve` starts vLLM like this. A request switches it off with `"vllm_xargs": {"constrain": "off"}`; with `"repeats"`
codes may be written again, for clients that read answers by `icd10cm.answers`, as all of ours do. The codes are those
of the release embedded in ICDTune, or of the file that the environment variable `ICDTUNE_CODE_FILE` names. Written for vLLM's
V1 model runner (`VLLM_USE_V2_MODEL_RUNNER=0`); vLLM imports this module in each of its processes.

Profiled on the demo's checkpoint (3.7 million weights, the FY2026 codes, 1,176 tokens, one CPU thread): for 64 answers of 24
tokens, all of them lists, the processor takes 1.2 % of the engine's processor time. Of that about 0.2 ms a step each go into
reading the new tokens, looking up what is allowed, and the mask, and as much again where answers come to codes never seen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from icd10cm.codeset import CodeSet
from icd10cm.constraining import AnswerState, mask_rows
from serving.engines.base import OFF, ON, REPEATS, SWITCH
from serving.hardware import CODE_FILE_VARIABLE
from serving.prompting import build_automaton, load_tokenizer

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class CodeConstraint(LogitsProcessor):
    """Masks, for a whole batch at once, every token that would leave the code set."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse a request whose switch is none of the three, or that brings a grammar of its own without switching off."""
        switch = (sampling_params.extra_args or {}).get(SWITCH, ON)
        if switch not in (ON, REPEATS, OFF):
            raise VLLMValidationError(f"vllm_xargs: {SWITCH!r} should be {ON!r}, {REPEATS!r} or {OFF!r}, not {switch!r}")
        if switch != OFF and sampling_params.structured_outputs is not None:
            raise VLLMValidationError(
                "answers are limited to ICD-10-CM codes, which no other output format fits; "
                f'send "vllm_xargs": {{"{SWITCH}": "{OFF}"}} beside response_format or structured_outputs'
            )

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool):
        """Build the automaton from the tokenizer of the served model."""
        folder = Path(vllm_config.model_config.model)
        code_file = os.environ.get(CODE_FILE_VARIABLE)
        codes = CodeSet.load(code_file or None).codes
        self._automaton = build_automaton(load_tokenizer(folder), folder, codes)
        self._context = vllm_config.model_config.max_model_len
        self._answers: dict[int, tuple[AnswerState, list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """Return False: the mask changes greedy answers too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Take over requests that entered, left or moved within the batch."""
        process_dict_updates(self._answers, batch_update, self._begin)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask the rows of the constrained requests in place. `logits`: (batch, vocabulary)."""
        if not self._answers:
            return logits
        allowed = []
        for answer, tokens in self._answers.values():
            # read here and not in update_state: only now has an overlapped step filled in its last token
            answer.follow(tokens)
            allowed.append(answer.allowed())
        mask_rows(logits, list(self._answers), allowed)
        return logits

    def _begin(
        self, params: SamplingParams, prompt_tokens: list[int] | None, written: list[int]
    ) -> tuple[AnswerState, list[int]] | None:
        switch = (params.extra_args or {}).get(SWITCH, ON)
        if switch == OFF:
            return None
        room = self._context - len(prompt_tokens or ())
        return AnswerState(self._automaton, min(params.max_tokens or room, room), distinct=switch == ON), written
