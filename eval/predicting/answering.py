"""Put texts to an engine, chunk by chunk, and write each answer down as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from data_gen.examples import Example
from eval.predicting.parting import answer_in_parts
from eval.predictions import Prediction, open_appending
from serving.engines import Engine, Generation

CHUNKS = {"transformers": 256, "vllm": 1024, "endpoint": 4096, "floor": 512, "search": 512}
"""Engine to the most examples asked at once: what a kill can cost, but for a server, whose answers are written as they come."""

_MOST_CHARACTERS = {"floor": 400_000, "search": 200_000}
"""Engine to the characters from which no more examples are asked at once."""

FLOORS = {"floor": "nearest title", "search": "first hit of the search"}
"""Engine that no model is needed for, to what it answers with."""

Read = Callable[[Example, Sequence[Generation]], Prediction]


def answer_missing(
    path: Path,
    examples: Sequence[Example],
    parts: Mapping[str, Sequence[str]],
    finished: Mapping[str, Prediction],
    engine: Engine,
    read: Read,
    joined: Collection[str] = (),
) -> dict[str, Prediction]:
    """Answer what is not finished, appending as it goes; returns the new predictions by id.

    Args:
        path: predictions file.
        examples: all of them.
        parts: id to the texts that stand for an example: its own, or what was cut from it.
        finished: id to the predictions that are there.
        engine: who answers.
        read: makes a prediction of an example and the answers to its parts.
        joined: ids of the examples whose parts may be several conditions still (`icd10cm.joined`).
    """
    from tqdm import tqdm

    answered: dict[str, Prediction] = {}
    bar = tqdm(total=len(examples), initial=len(finished), desc=engine.name, unit="example")
    with bar, open_appending(path) as append:

        def take(example: Example, generations: Sequence[Generation]) -> None:
            if example.id not in finished:
                answered[example.id] = read(example, generations)
                append(answered[example.id])
                bar.update()

        for chunk in split_chunks(examples, CHUNKS[engine.name], _MOST_CHARACTERS.get(engine.name)):
            missing = [example for example in chunk if example.id not in finished]
            # A whole chunk is generated again where only part of it is missing, so that an answer, down to the last digit of
            # its score, does not depend on where a run was killed; a server, which may cost money, is not asked twice.
            if missing:
                ask_all(engine, missing if engine.name == "endpoint" else chunk, parts, take, joined)
    return answered


def ask_all(
    engine: Engine,
    examples: Sequence[Example],
    parts: Mapping[str, Sequence[str]],
    take: Callable[[Example, Sequence[Generation]], None],
    joined: Collection[str] = (),
) -> None:
    """Ask for every part of every example; `take` gets an example when all its parts are answered.

    The parts of examples in `joined` are asked for in smaller parts where the engine is unsure of them.
    """
    texts = [text for example in examples for text in parts[example.id]]
    owners = [example for example in examples for _ in parts[example.id]]
    if engine.name == "endpoint":
        from serving.engines.endpoint_engine import EndpointEngine

        assert isinstance(engine, EndpointEngine)
        found: dict[str, dict[int, Generation]] = {}
        waiting: list[tuple[Example, list[Generation]]] = []

        def collect(place: int, generation: Generation) -> None:
            owner = owners[place]
            found.setdefault(owner.id, {})[place] = generation
            if len(found[owner.id]) == len(parts[owner.id]):
                whole = found.pop(owner.id)
                answers = [whole[place] for place in sorted(whole)]
                if owner.id in joined:
                    waiting.append((owner, answers))
                else:
                    take(owner, answers)

        engine.generate(texts, collect)
    else:
        if engine.name in FLOORS:
            generations = engine.generate(texts, [owner.scenario == "note" for owner in owners])  # type: ignore[call-arg]
        else:
            generations = engine.generate(texts)
        each = iter(generations)
        answered = [(example, [next(each) for _ in parts[example.id]]) for example in examples]
        waiting = [pair for pair in answered if pair[0].id in joined]
        for example, answers in answered:
            if example.id not in joined:
                take(example, answers)
    _part_further(engine, waiting, parts, take)


def _part_further(
    engine: Engine,
    answered: Sequence[tuple[Example, Sequence[Generation]]],
    parts: Mapping[str, Sequence[str]],
    take: Callable[[Example, Sequence[Generation]], None],
) -> None:
    """Take examples whose conditions may be joined, those that are surer in smaller parts with the answers to these."""
    texts = [text for example, _ in answered for text in parts[example.id]]
    first = [answer for _, answers in answered for answer in answers]
    found = iter(answer_in_parts(texts, first, engine.generate, by_logprob=engine.name not in FLOORS))
    for example, answers in answered:
        take(example, [answer for _ in answers for answer in next(found)])


def split_chunks(examples: Sequence[Example], size: int, most_characters: int | None = None) -> Iterator[list[Example]]:
    """Return the examples in chunks, texts of like length together; the same for the same examples.

    Args:
        examples: in any order.
        size: the most examples in a chunk.
        most_characters: a chunk ends with the example that reaches it.
    """
    chunk: list[Example] = []
    n_characters = 0
    for example in sorted(examples, key=lambda example: (-len(example.text), example.id)):
        chunk.append(example)
        n_characters += len(example.text)
        if len(chunk) == size or (most_characters and n_characters >= most_characters):
            yield chunk
            chunk, n_characters = [], 0
    if chunk:
        yield chunk
