"""Exact match by generation on a fixed validation slice, during training and without any constraint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_gen.examples import Example
from icd10cm.prompts import SEPARATOR, build_prompt

MAX_NEW_TOKENS_PER_CODE = 16


def answer_together(trainer: Any, examples: Sequence[Example]) -> list[str]:
    """Return the greedy answers of a trainer's model to all examples, in order; each process answers its share."""
    from accelerate.utils import gather_object
    from trl.models.utils import unwrap_model_for_generation

    first, step = trainer.accelerator.process_index, trainer.accelerator.num_processes
    with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
        batch_size = trainer.args.per_device_eval_batch_size
        share = answer_examples(model, trainer.processing_class, examples[first::step], batch_size)
    answers = [""] * len(examples)
    places = [place for process in range(step) for place in range(process, len(examples), step)]
    for place, answer in zip(places, gather_object(share), strict=True):
        answers[place] = answer
    return answers


def answer_examples(model: Any, tokenizer: Any, examples: Sequence[Example], batch_size: int) -> list[str]:
    """Return the model's greedy answer to each example, in order; longest first inside, so that padding stays small."""
    import torch

    prompts = render_prompts([example.text for example in examples], tokenizer)
    order = sorted(range(len(examples)), key=lambda index: -len(prompts[index]))
    limit = MAX_NEW_TOKENS_PER_CODE * (1 + max((len(example.codes) for example in examples), default=0))
    answers = [""] * len(examples)
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs = encode_prompts([prompts[index] for index in batch], tokenizer, model.device)
        with torch.no_grad():
            written = model.generate(**inputs, max_new_tokens=limit, do_sample=False, use_cache=True)
        texts = tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for index, text in zip(batch, texts, strict=True):
            answers[index] = text.strip()
    model.train(was_training)
    return answers


def render_prompts(texts: Sequence[str], tokenizer: Any) -> list[str]:
    """Return each clinical text in the chat template, up to where the answer begins."""
    return tokenizer.apply_chat_template([build_prompt(text) for text in texts], tokenize=False, add_generation_prompt=True)


def encode_prompts(prompts: Sequence[str], tokenizer: Any, device: Any) -> Any:
    """Return rendered prompts as the tensors that `generate` takes, padded in front."""
    return tokenizer(
        list(prompts),
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_token_type_ids=False,
    ).to(device)


def count_matches(examples: Sequence[Example], answers: Sequence[str]) -> tuple[int, int]:
    """Return how many answers name exactly the codes, and how many name the right categories, as sets."""
    pairs = [(set(example.codes), set(answer.split(SEPARATOR))) for example, answer in zip(examples, answers, strict=True)]
    exact = sum(wanted == given for wanted, given in pairs)
    category = sum({code[:3] for code in wanted} == {code[:3] for code in given} for wanted, given in pairs)
    return exact, category
