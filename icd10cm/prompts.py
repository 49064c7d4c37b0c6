"""Text -> prompt, codes -> completion: the one place, for training, evaluation and serving alike.

A prompt is a single user turn; the instruction lives in the checkpoint's chat template, so that a client who sends
only the text gets the prompt that the model was trained on. Change anything here and `PROMPT_VERSION` changes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

PROMPT_VERSION = "1"

INSTRUCTION = (
    "Write the ICD-10-CM codes for the clinical text: billable codes only, with the dot, "
    "principal diagnosis first, separated by a comma and a space."
)

SEPARATOR = ", "

Message = dict[str, str]


def build_prompt(text: str) -> list[Message]:
    """Return the prompt for `text` in TRL's conversational form."""
    return [{"role": "user", "content": text.strip()}]


def build_completion(codes: Sequence[str]) -> list[Message]:
    """Return the completion for dotted `codes`, principal diagnosis first, in TRL's conversational form."""
    return [{"role": "assistant", "content": SEPARATOR.join(codes)}]


def bake_instruction(chat_template: str) -> str:
    """Return `chat_template` with `INSTRUCTION` as system turn where a conversation has none, and a fixed date.

    Llama 3.2's template writes today's date into every prompt; a fixed one keeps training and serving alike.
    """
    return (
        '{%- set date_string = "26 Jul 2024" %}'
        "{%- if messages[0]['role'] != 'system' %}"
        f"{{%- set messages = [{{'role': 'system', 'content': '{INSTRUCTION}'}}] + messages %}}"
        "{%- endif %}" + chat_template
    )
