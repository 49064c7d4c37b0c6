"""What a language model is asked for, per variation. Change a word and `WRITER_PROMPT_VERSION` changes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icd10cm.prompts import Message

WRITER_PROMPT_VERSION = "1"
"""Part of the key of every stored answer: answers to older prompts are never taken for answers to these."""

_SYSTEM = """You write the diagnosis lines that clinicians type into hospital records. You are given the official title of one
ICD-10-CM code and write other texts for exactly the same diagnosis.

Rules for every text:
- It means the title, no more and no less. Keep laterality (left, right, bilateral, unspecified), every number, stage, grade and
  type, "with" and "without", cause and complication, trimester, and the encounter (initial, subsequent, sequela).
- It never names another condition, an ICD code, a patient, a date or a doctor.
- It is one line, differs from the title, and differs from your other texts in more than letter case and punctuation.

{task}

Answer with JSON only: {{"texts": ["...", "..."]}}"""

PROMPTS: dict[str, str] = {
    "reordered": (
        "Your task: reorder. Use the words of the title in another order, as clinicians and the Alphabetic Index do: comma "
        'inversion ("Pain, knee, right"), modifier to the front or the back, "due to / with / in" turned round, laterality and '
        "encounter moved. Add no new content words and leave none out."
    ),
    "abbreviated": (
        "Your task: abbreviate. Use short forms in real clinical use (HTN, T2DM, CKD, fx, L, R, w/o, s/p, d/t, subseq enc), at "
        "least one in each text, and never one that a reader could take for another word here. Do not change digits."
    ),
    "typo": (
        "Your task: misspell. Make one to three realistic typing or spelling errors in each text: neighbouring keys, swapped, "
        "missing or doubled letters, spelling by ear, a missing space. Digits, laterality and short words (no, not, of, with, "
        "without) stay correct, and every word can still be recognised."
    ),
    "paraphrased": (
        "Your task: paraphrase. Say the diagnosis in other words: synonyms, lay terms, the terms listed as also included, and "
        'the phrases of notes ("pt presents with", "admitted for", "found to have"). Never "history of" or "rule out" unless '
        "the title says so."
    ),
    "mixed": (
        "Your task: mix. Write each text in short forms in real clinical use (HTN, T2DM, CKD, fx, w/o, subseq enc) or with its "
        "words in another order, and on top of that make one or two realistic spelling errors in its full words. Short forms, "
        "digits, laterality and short words (no, not, of, with, without) stay correct, and every word can still be recognised."
    ),
}
"""Variation to what it asks for."""


def build_messages(variation: str, title: str, n_texts: int, terms: Sequence[str], examples: Sequence[str]) -> list[Message]:
    """Return the chat of one request.

    Args:
        variation: a key of `PROMPTS`.
        title: official title of the code.
        n_texts: texts to ask for.
        terms: inclusion terms of the code.
        examples: lines whose style is to be followed.
    """
    # what all requests share stands first, so that a server with a prefix cache reads it once
    system = _SYSTEM.format(task=PROMPTS[variation])
    if examples:
        system += "\n\nFollow the style of these lines, not their content:\n" + "\n".join(f"- {line}" for line in examples)
    user = f"Title: {title}\n"
    if terms:
        user += f"Also included: {'; '.join(terms)}\n"
    return [{"role": "system", "content": system}, {"role": "user", "content": f"{user}Write {n_texts} texts."}]


def build_format(structured: str) -> dict[str, Any] | None:
    """Return the `response_format` of a request, None for plain text."""
    if structured == "json_schema":
        schema = {
            "type": "object",
            "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
            "required": ["texts"],
            "additionalProperties": False,
        }
        return {"type": "json_schema", "json_schema": {"name": "texts", "strict": True, "schema": schema}}
    return {"type": "json_object"} if structured == "json_object" else None
