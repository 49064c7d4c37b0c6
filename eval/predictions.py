"""Prediction: what an engine answered to one example; one JSON object a line in `predictions.jsonl`, its `run.json` beside it.

>>> prediction = build_prediction(example, generation, codes)
>>> prediction.predicted, prediction.status
((ScoredCode(code='E11.621', score=-0.01),), 'ok')

One folder holds one predictions file. Besides the usual facts its `run.json` (`icd10cm.run_header.build_header`) has:
`label` (short name such as `stage 2`), `engine`, `model`, `constrained` (true, false) and `data` (path of the examples, whose
sha256 stands in `inputs` under the same path). `release` is that of the codes answers were read against, `model_release` that
of the checkpoint or server (null where it is not known), `data_releases` those of the examples.
`score_source` says what the scores of predicted codes are: `logprob` (mean log-probability of the tokens), `sampling` (share
of drawn answers), `cosine` (of a title) or `search` (score of a hit); `ranking_source` what those of the ranking are: `beam`,
`sampling`, `cosine`, `search` or null. `long_text` has the way long texts were cut, and how many. `restricted`, `corpus` and
`data_header` come from the data's own mark and the `run.json` beside it: texts of restricted corpora must not be shown.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data_gen.examples import SCENARIOS, Example
from eval.predicting.answer_scores import rank_codes
from icd10cm.answers import drop_cut_code, read_answer
from icd10cm.codeset import CodeSet
from icd10cm.config import suggest_name
from icd10cm.errors import DataError
from serving.engines.base import Generation, score_written

STATUSES = ("ok", "unparsed", "truncated", "error")


class ScoredCode(NamedTuple):
    """A code and how sure the engine was of it; the run header names the kind of score (`score_source`, `ranking_source`)."""

    code: str
    score: float | None


class Prediction(NamedTuple):
    """The answer to one example; the fields are the keys of its line.

    Attributes:
        id: that of the example.
        scenario: that of the example, one of `data_gen.examples.SCENARIOS`.
        codes: the right codes, dotted, principal diagnosis first.
        predicted: distinct billable codes in the order written.
        output: the completion as written; for an `error`, what the engine said.
        status: `ok`; `unparsed` (nothing has the shape of a code); `truncated` (the token limit cut it off; its last, perhaps
            unfinished code is not counted); `error` (the engine gave no answer).
        rejected: what has the shape of a code but is not a billable code of the release, as written.
        ranking: distinct billable codes with their scores, surest first, the predicted ones among them; empty where the engine
            was not asked to rank.
        patient: that of the example; intervals are drawn over patients where it is not empty.
        attributes: those of the example, its `held_out` among them.
        n_characters: length of the text; 0 where it is not known.
    """

    id: str
    scenario: str
    codes: tuple[str, ...]
    predicted: tuple[ScoredCode, ...]
    output: str
    status: str
    rejected: tuple[str, ...]
    ranking: tuple[ScoredCode, ...] = ()
    patient: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    n_characters: int = 0


_OPTIONAL = ("ranking", "patient", "attributes", "n_characters")
"""Fields that a line may lack."""


class Finished(NamedTuple):
    """What an interrupted run left behind.

    Attributes:
        predictions: the complete lines.
        half_line: the last line where it was not written to its end, otherwise empty.
    """

    predictions: list[Prediction]
    half_line: str


def build_prediction(
    example: Example, generation: Generation, codes: CodeSet, n_ranked: int = 20, score: str = "logprob"
) -> Prediction:
    """Return what `generation` says about `example`, read against the release `codes`.

    Args:
        example: what was asked.
        generation: the answer.
        codes: the release.
        n_ranked: how many codes a ranking keeps.
        score: of predicted codes, `logprob` (the engine's own: of a code where it is known, otherwise of the whole answer) or
            `sampling` (the share of the samples that hold the code).
    """
    held_out = {"held_out": example.held_out} if example.held_out else {}
    attributes = tuple(sorted({**dict(example.attributes), **held_out}.items()))
    known = (example.id, example.scenario, tuple(example.codes))
    unanswered = Prediction(*known, (), "", "error", (), (), example.patient, attributes, len(example.text))
    if generation.finish_reason == "error":
        return unanswered._replace(output=generation.error or generation.text)
    truncated = generation.finish_reason == "length"
    answer = read_answer(drop_cut_code(generation.text) if truncated else generation.text, codes)
    status = "truncated" if truncated else "unparsed" if answer.unparsed else "ok"
    ranks = generation.samples or generation.ranking
    ranking = rank_codes(generation, answer.codes, codes, n_ranked) if ranks else ()
    whole = generation.score if generation.score is not None and math.isfinite(generation.score) else None
    scores = dict(ranking) if score == "sampling" else score_written(generation.code_scores, codes)
    return unanswered._replace(
        predicted=tuple(ScoredCode(code, scores.get(code, whole)) for code in answer.codes),
        output=generation.text,
        status=status,
        rejected=answer.rejected,
        ranking=tuple(ScoredCode(*ranked) for ranked in ranking),
    )


def write_line(prediction: Prediction) -> str:
    """Return the line of a prediction, with its line end; fields of `_OPTIONAL` stand in it only where there is anything."""
    row = prediction._asdict() | {"predicted": [scored._asdict() for scored in prediction.predicted]}
    row |= {"ranking": [scored._asdict() for scored in prediction.ranking], "attributes": dict(prediction.attributes)}
    return json.dumps({key: value for key, value in row.items() if value or key not in _OPTIONAL}) + "\n"


def read_predictions(path: Path) -> list[Prediction]:
    """Read a finished predictions file.

    Raises:
        DataError: missing or empty file, half a line, wrong fields, repeated id or unknown scenario; names file and line.
    """
    finished = _read_lines(path)
    if finished.half_line:
        raise DataError(
            f"{path}, line {len(finished.predictions) + 1}: only half written; run the same eval.predict command again"
        )
    if not finished.predictions:
        raise DataError(f"{path}: the file is empty; run the same eval.predict command again to fill it")
    return finished.predictions


def read_finished(path: Path) -> Finished:
    """Read what an interrupted run left; nothing when there is no file. Raises `DataError` as `read_predictions` does."""
    return _read_lines(path) if path.exists() else Finished([], "")


@contextlib.contextmanager
def open_appending(path: Path) -> Iterator[Callable[[Prediction], None]]:
    """Open a predictions file to go on with it; yields a function that appends one prediction and flushes it.

    Half a line at the end, as a killed run leaves it, is cut off first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)

        def append(prediction: Prediction) -> None:
            file.write(write_line(prediction).encode())
            file.flush()

        yield append


def _read_lines(path: Path) -> Finished:
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); eval.predict writes it") from None
    predictions: list[Prediction] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        prediction = _read_line(line, f"{path}, line {number}")
        if prediction.id in seen:
            raise DataError(f"{path}, line {number}: its id stands on line {seen[prediction.id]} already; ids are unique")
        seen[prediction.id] = number
        predictions.append(prediction)
    return Finished(predictions, rest.decode(errors="replace"))


def _read_line(line: bytes, where: str) -> Prediction:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not a line of predictions ({error}); predict again into an empty folder") from None
    problem = _find_problem(row)
    if problem:
        raise DataError(f"{where}: {problem}")
    scored = {
        key: tuple(ScoredCode(item["code"], item["score"]) for item in row.get(key, ())) for key in ("predicted", "ranking")
    }
    lists = {"codes": tuple(row["codes"]), "rejected": tuple(row["rejected"])}
    return Prediction(**{**row, **scored, **lists, "attributes": tuple(sorted(row.get("attributes", {}).items()))})


def _find_problem(row: Any) -> str:
    """Return what is wrong with a parsed line, empty when nothing is; without its values, which may be of restricted data."""
    if not isinstance(row, dict) or set(row) - set(_OPTIONAL) != set(Prediction._fields) - set(_OPTIONAL):
        found = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else type(row).__name__
        return f"expected the keys {', '.join(Prediction._fields)}; found {found}"
    for key in ("id", "scenario", "output", "status"):
        if not isinstance(row[key], str):
            return f"{key!r} should be a text"
    for key in ("codes", "rejected"):
        if not isinstance(row[key], list) or not all(isinstance(item, str) for item in row[key]):
            return f"{key!r} should be a list of texts"
    if not row["codes"]:
        return "'codes' is empty; an example without right codes can't be scored"
    for key in ("predicted", "ranking"):
        if not isinstance(row.get(key, []), list) or not all(map(_is_scored_code, row.get(key, []))):
            return f"{key!r} should be a list of {{code, score}}"
    attributes = row.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        return "'attributes' should be texts by name"
    if not isinstance(row.get("patient", ""), str) or not isinstance(row.get("n_characters", 0), int):
        return "'patient' should be a text and 'n_characters' a whole number"
    if row["scenario"] not in SCENARIOS:
        return f"unknown scenario {row['scenario']!r}{suggest_name(row['scenario'], SCENARIOS)}"
    if row["status"] not in STATUSES:
        return f"unknown status {row['status']!r}{suggest_name(row['status'], STATUSES)}"
    return ""


def _is_scored_code(item: Any) -> bool:
    if not isinstance(item, dict) or set(item) != set(ScoredCode._fields) or not isinstance(item["code"], str):
        return False
    score = item["score"]
    return score is None or (isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score))
