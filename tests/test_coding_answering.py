"""From what a model wrote to codes with scores and alternatives; parts of a text put together; confidence."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from icd10cm import CodeSet
from icd10cm.errors import DataError
from serving.coding.alternatives import Token, complete_code, find_alternatives
from serving.coding.answering import Answer, WrittenCode, merge_answers, read_generation
from serving.coding.assembling import Asked, build_response
from serving.coding.calibration import Calibration, Curve, find_confidence, parse_calibration
from serving.coding.models import CodingRequest, ModelFacts, Span
from serving.engines.base import end_answer
from serving.long_notes import Part

CONTENT: dict[str, Any] = {
    "schema_version": 1, "score_source": "logprob", "calibrator": "temperature", "parameters": {"temperature": 0.5},
    "threshold": 0.6, "target_accuracy": 0.95, "coverage": 0.9, "accuracy": 0.951, "model_sha256": "ab",
}  # fmt: skip


def spell(*tokens: tuple[str, dict[str, float]]) -> list[Token]:
    """Tokens by their text and, for each, the probability of itself and of others."""
    return [
        Token(text, math.log(told.get(text, 1.0)), tuple((other, math.log(p)) for other, p in told.items()))
        for text, told in tokens
    ]


def test_alternatives_branch_off_at_any_token(codes: CodeSet) -> None:
    tokens = spell(
        ("E11", {"E11": 0.7, "I10": 0.2, "E10": 0.1}),
        (".62", {".62": 0.9, ".9": 0.09}),
        ("1", {"1": 0.8, "2": 0.16, "8": 0.02, "7": 0.01}),
        (", ", {", ": 0.9}),
        ("Z79.4", {"Z79.4": 0.5, "I10": 0.4, " Z79.84": 0.1}),
        ("<|end|>", {"<|end|>": 1.0}),
    )
    found = find_alternatives(tokens, ["E11.621", "Z79.4"], codes)
    assert [code for code, _ in found["E11.621"]] == ["I10", "E11.622", "E11.9", "E11.628"]
    assert dict(found["E11.621"])["E11.9"] == pytest.approx(math.log(0.09 / 0.9), abs=1e-3)
    assert [code for code, _ in found["Z79.4"]] == ["I10", "Z79.84"]


def test_no_alternative_is_a_code_of_the_answer_or_none_of_the_release(codes: CodeSet) -> None:
    tokens = spell(
        ("I10", {"I10": 0.6, "E11.9": 0.3, "X99.99": 0.1, "the": 0.1}), (", ", {}), ("E11.9", {"E11.9": 0.9, "I10": 0.1})
    )
    assert find_alternatives(tokens, ["I10", "E11.9"], codes) == {"I10": (), "E11.9": ()}


@pytest.mark.parametrize(
    ("text", "code"),
    [("A00.0", "A00.0"), ("a000", "A00.0"), ("I1", None), ("B20", "B20"), ("S72.001", None), ("Z99.89 ", "Z99.89"), ("", None),
     ("é", None), ("R99, ", "R99"), ("E11.62", None), ("O9A.53", "O9A.53"), ("Z33.", None)],
)  # fmt: skip
def test_a_beginning_counts_when_one_code_is_left(codes: CodeSet, text: str, code: str | None) -> None:
    assert complete_code(text, codes) == code


def test_an_answer_is_read_with_the_scores_of_its_codes(codes: CodeSet) -> None:
    pieces = ("E11", ".621", ", ", "I1", "0", ", ", "XX9", "<end>")
    generation = end_answer("E11.621, I10, XX9", stopped=True, tokens=pieces, logprobs=(-0.1,) * 3 + (-0.4,) * 5)
    part = Part("text", ((3, 7),))
    answer = read_generation(generation, part, codes)
    assert answer == Answer(
        (WrittenCode("E11.621", -0.1, (), ((3, 7),)), WrittenCode("I10", -0.4, (), ((3, 7),))), n_rejected=1, truncated=False
    )
    cut = read_generation(end_answer("E11.621, I1", stopped=False), part, codes)
    assert [one.code for one in cut.codes] == ["E11.621"] and cut.truncated


def test_parts_are_put_together_by_first_appearance_and_best_score() -> None:
    first = Answer((WrittenCode("I10", -0.5, (("E11.9", -1.0),), ((0, 9),)), WrittenCode("J18.9", None, (), ((0, 9),))))
    second = Answer(
        (WrittenCode("E11.9", -0.2, (), ((8, 20),)), WrittenCode("I10", -0.1, (("I11.9", -2.0),), ((8, 20),))), 2, True
    )
    merged = merge_answers([first, second])
    assert [(one.code, one.score) for one in merged.codes] == [("I10", -0.1), ("J18.9", None), ("E11.9", -0.2)]
    assert merged.codes[0].alternatives == (("I11.9", -2.0),)
    assert merged.codes[0].spans == ((0, 9), (8, 20))
    assert (merged.n_rejected, merged.truncated) == (2, True)
    other = Answer((WrittenCode("E11.9", -0.9, (("I10", -0.1),), ()),))
    assert merge_answers([other, first]).codes[0].alternatives == (), "what the whole answer holds is no alternative"


def test_confidence_with_and_without_a_calibration() -> None:
    assert find_confidence(None, None) is None
    assert find_confidence(float("-inf"), None) is None
    assert find_confidence(math.log(0.5), None) == 0.5
    assert find_confidence(math.log(0.5), parse_calibration(CONTENT, "ab", "x")) == 0.25
    steps = Curve("isotonic", {"raw": [0.2, 0.6], "right": [0.1, 0.9]})
    assert find_confidence(math.log(0.4), Calibration(steps, 0.5, None, {})) == 0.5
    assert steps(np.array([0.0, 1.0])).tolist() == [0.1, 0.9]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 2}, "schema version 1"),
        ({"score_source": "cosine"}, "scores of another kind"),
        ({"calibrator": "magic"}, "unknown calibrator 'magic'"),
        ({"parameters": {"temperature": 0}}, "temperature is no number above 0"),
        ({"parameters": {}}, "temperature is no number above 0"),
        ({"calibrator": "isotonic", "parameters": {"raw": [0.5, 0.1], "right": [0, 1]}}, "points are no curve"),
        ({"calibrator": "isotonic", "parameters": {"raw": [0.5], "right": [2]}}, "points are no curve"),
        ({"threshold": 1.5}, "threshold is no share"),
        ({"model_sha256": "cd"}, "belongs to other weights"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        parse_calibration({**CONTENT, **change}, "ab", "calibration.json")
    with pytest.raises(DataError, match="schema version 1"):
        parse_calibration([1], None, "calibration.json")


@pytest.fixture(scope="module")
def checker() -> Any:
    from icd10cm.rules import Checker

    return Checker()


def assemble(checker: Any, request: CodingRequest, *written: WrittenCode, calibrated: bool = True, **spans: Any) -> Any:
    asked = Asked(
        ModelFacts(name="m", sha256="ab", prompt_version="1"), parse_calibration(CONTENT, None, "x") if calibrated else None
    )
    evidence = {code.replace("_", "."): [Span(support=None, text="x", start=0, end=1, **span)] for code, span in spans.items()}
    return build_response(request, "r", Answer(written), evidence, asked, checker)


def test_codes_below_the_threshold_are_candidates(checker: Any) -> None:
    request, sure, unsure = CodingRequest(text="x"), WrittenCode("I10", math.log(0.9)), WrittenCode("E11.9", math.log(0.5))
    response = assemble(checker, request, unsure, sure)
    assert [one.code for one in response.codes] == ["I10"] and [one.code for one in response.candidates] == ["E11.9"]
    assert (response.threshold, response.calibrated, response.abstained) == (0.6, True, False)
    everything = assemble(checker, request.model_copy(update={"threshold": 0.0}), unsure, sure)
    assert [one.code for one in everything.codes] == ["E11.9", "I10"]
    nothing = assemble(checker, request.model_copy(update={"threshold": 1.0}), unsure, sure)
    assert nothing.abstained and not nothing.codes and not nothing.findings and len(nothing.candidates) == 2
    raw = assemble(checker, request, unsure, calibrated=False)
    assert (raw.threshold, raw.calibrated, raw.codes[0].confidence) == (0.0, False, 0.5)
    assert assemble(checker, request, WrittenCode("I10", None), calibrated=False).codes[0].confidence is None
    assert assemble(checker, request, WrittenCode("I10", None)).abstained, "who knows nothing is not sure enough"


def test_alternatives_share_what_the_code_leaves(checker: Any) -> None:
    odds = (("I11.9", math.log(0.5)), ("I12.9", math.log(0.2)), ("I15.0", math.log(1e-6)))
    response = assemble(checker, CodingRequest(text="x", threshold=0), WrittenCode("I10", math.log(0.9), odds))
    (coded,) = response.codes
    assert coded.confidence == 0.81
    assert [(one.code, one.confidence) for one in coded.alternatives] == [("I11.9", 0.19), ("I12.9", 0.162)]
    assert (
        assemble(checker, CodingRequest(text="x", alternatives=0), WrittenCode("I10", -0.1, odds)).codes[0].alternatives == ()
    )


def test_findings_speak_of_the_codes_and_of_their_evidence(checker: Any) -> None:
    request = CodingRequest(text="x", sex="M", threshold=0)
    response = assemble(checker, request, WrittenCode("E11.9", -0.1), WrittenCode("E10.9", -0.1), WrittenCode("N80.00", -0.1))
    assert {"excludes1", "sex"} <= {finding.rule for finding in response.findings}
    negated = {"assertion": "negated", "trigger": "denies"}
    relative = {"assertion": "family_history", "trigger": "mother"}
    response = assemble(
        checker, request, WrittenCode("R07.9", -0.1), WrittenCode("I10", -0.1), WrittenCode("Z80.3", -0.1),
        R07_9=negated, I10=relative, Z80_3=relative,
    )  # fmt: skip
    found = {(finding.rule, finding.codes) for finding in response.findings if finding.rule.endswith("evidence")}
    assert found == {("negated_evidence", ("R07.9",)), ("family_history_evidence", ("I10",))}
    assert [one.code for one in response.codes] == ["R07.9", "I10", "Z80.3"], "flagged, never dropped"
    assert "denies" in json.dumps(response.model_dump(mode="json"))
