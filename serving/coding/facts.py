"""What a model server says of itself: its models, how much they read, how far their confidence was calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from icd10cm.errors import DataError
from serving.coding.calibration import CALIBRATION_FILE, Calibration, parse_calibration
from serving.coding.models import LongText
from serving.long_notes import WAYS

UNKNOWN_CONTEXT, UNKNOWN_ANSWER = 8192, 512
"""Tokens that a model reads, and that its answer may have, where its server does not say."""


class ModelCard(NamedTuple):
    """A model of a server; None where the server does not say.

    Attributes:
        name: in requests.
        sha256: of its weights.
        prompt_version: of the prompt it was trained with.
        release: of the codes that its answers are limited to.
        context: longest prompt and answer together, in tokens.
        max_tokens: most tokens of an answer.
        engine: `vllm` or `transformers`.
        constrained: whether answers hold existing codes only, unless a request says otherwise.
        long_text: how it wants longer texts and lists to be read, one of `serving.long_notes.WAYS`.
        calibration: of its confidence.
    """

    name: str
    sha256: str | None = None
    prompt_version: str | None = None
    release: str | None = None
    context: int = UNKNOWN_CONTEXT
    max_tokens: int = UNKNOWN_ANSWER
    engine: str | None = None
    constrained: bool = False
    long_text: LongText | None = None
    calibration: Calibration | None = None


class ServerFacts(NamedTuple):
    """A model server.

    Attributes:
        models: by name, the server's first one first.
        version: of ICDTune there; None for a server of another kind.
        warnings: what a person should know, a sentence each.
    """

    models: Mapping[str, ModelCard]
    version: str | None = None
    warnings: tuple[str, ...] = ()


def read_own_facts(content: Mapping[str, Any]) -> ServerFacts:
    """Return what `GET /icdtune` of a server of ours says; a calibration that does not fit its model is left out and told."""
    models, warnings = {}, []
    for name, known in content["models"].items():
        calibration = None
        if known.get("calibration") is not None:
            try:
                calibration = parse_calibration(known["calibration"], known.get("sha256"), f"{CALIBRATION_FILE} of {name}")
            except DataError as error:
                warnings.append(str(error))
        models[name] = ModelCard(
            name,
            sha256=known.get("sha256"),
            prompt_version=known.get("prompt_version"),
            release=known.get("release"),
            context=known.get("context") or UNKNOWN_CONTEXT,
            max_tokens=known.get("max_tokens") or UNKNOWN_ANSWER,
            engine=known.get("engine"),
            constrained=bool(known.get("constrained")),
            long_text=known["long_text"] if known.get("long_text") in WAYS else None,
            calibration=calibration,
        )
    return ServerFacts(models, content.get("version"), tuple(warnings))


def read_foreign_facts(content: Mapping[str, Any], release: str | None = None) -> ServerFacts:
    """Return what `GET /v1/models` of any server says, and the release that a header of it names."""
    cards = [
        ModelCard(
            one["id"],
            release=release,
            context=one.get("max_model_len") or UNKNOWN_CONTEXT,
            engine="vllm" if one.get("owned_by") == "vllm" else None,
        )
        for one in content["data"]
    ]
    return ServerFacts({card.name: card for card in cards})
