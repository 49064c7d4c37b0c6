"""README.md of a checkpoint: what it was trained on, how well it did, and what it is for."""

from __future__ import annotations

from typing import Any

from icd10cm.prompts import INSTRUCTION

CURVES_FILE = "training.png"
"""Picture of the loss and of the validation slice, beside the card."""


def write_model_card(header: dict[str, Any], counts: dict[str, int]) -> str:
    """Return a model card in the hub's format.

    Args:
        header: the header of the finished run (`run.json`).
        counts: training examples of each scenario.
    """
    settings = header["settings"]
    evaluated = [entry for entry in header["history"] if "eval_exact_match" in entry]
    base = settings.get("model_name_or_path") or "a Llama built from scratch"
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        f"tags: [icd10cm, clinical-coding, trl, {header['stage'].rpartition('.')[2]}]",
        "---",
        "",
        f"# ICD-10-CM coder, stage `{settings['stage']}`",
        "",
        f"{header['n_parameters'] / 1e6:.1f} M parameters, trained from {base} on ICD-10-CM release {header['release']}. "
        "It reads a clinical phrase and writes billable codes, principal diagnosis first.",
        "",
        "**Intended use**: decision support and research; a certified coder decides. Not for automatic billing, "
        "not a medical device, and not evaluated on any patient population unless a scores file beside it says so.",
        "",
        "## Training",
        "",
        "| | |",
        "|---|---|",
        f"| data | `{settings['data']}`: "
        + ", ".join(f"{n:,} {scenario}" for scenario, n in counts.items())
        + " rows per epoch |",
        *(f"| sha256 | `{path}` {digest} |" for path, digest in header["inputs"].items()),
        f"| learning rate, epochs, batch per process | {settings['learning_rate']}, {settings['num_train_epochs']}, "
        f"{settings['per_device_train_batch_size']} |",
        f"| processes, seconds | {header['n_processes']}, {header['train_seconds']:.0f} |",
        f"| prompt version | {header['prompt_version']} |",
        f"| commit | {header['git_commit']}{' with local changes' if header['git_dirty'] else ''} |",
        "",
    ]
    if evaluated:
        last = evaluated[-1]
        lines += [
            f"![loss and validation against steps]({CURVES_FILE})",
            "",
            f"Validation slice at the end, unconstrained: exact match {last['eval_exact_match']:.1%}, "
            f"category match {last['eval_category_match']:.1%}. `eval.score` writes the scores on the test set.",
            "",
        ]
    rewarded = [entry for entry in evaluated if "eval_reward" in entry]
    if rewarded:
        before, after = rewarded[0], rewarded[-1]
        weights = ", ".join(f"{name} {value:g}" for name, value in header["reward"].items())
        lines += [
            f"Learned from rewards (set F1 of the codes; weights: {weights}); mean reward of greedy answers to the validation "
            f"slice {before['eval_reward']:.3f} before and {after['eval_reward']:.3f} after, exact match "
            f"{before['eval_exact_match']:.1%} and {after['eval_exact_match']:.1%}.",
            "",
        ]
    lines += [
        "## Use",
        "",
        "The chat template holds the instruction, so a request is the clinical text alone:",
        "",
        "```python",
        'messages = [{"role": "user", "content": "T2DM w/ foot ulcer"}]',
        "inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors='pt', return_dict=True)",
        "print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))",
        "```",
        "",
        f"Instruction: {INSTRUCTION}",
        "",
    ]
    return "\n".join(lines)
