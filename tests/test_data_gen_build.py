"""The examples of a data set in memory: processes, other writers, who may have what, priors, indexes, unseen codes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_gen.build import build_examples
from data_gen.plan import Plan
from data_gen.variations import VARIATIONS
from icd10cm import CodeSet

PLAN = {
    "train_variants": {"reordered": 2, "abbreviated": 2, "typo": 2, "paraphrased": 2, "mixed": 2},
    "multiple": {"train": 20},
    "note": {"train": 5},
}


def test_data_are_the_same_with_one_and_with_three_processes(codes: CodeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_gen.writing._FEWEST_PER_PROCESS", 10)
    monkeypatch.setattr("data_gen.joining._FEWEST_PER_PROCESS", 5)
    chosen = codes.select(["E11", "S52.0", "O14", "P07"])
    one, three = (build_examples(codes, chosen, Plan.model_validate(PLAN | {"workers": n})) for n in (1, 3))
    assert one == three and len(one.examples["train"]) > 1500


TITLE, TURNED = "Acute kidney failure with tubular necrosis", "tubular necrosis with acute kidney failure"


def test_texts_of_another_writer_pass_the_same_checks_and_splits(codes: CodeSet) -> None:
    said = {
        "abbreviated": ["AKF w/ tub necr", TITLE, "AKF w/o tub necr", "ARF w/ tubular necrosis"],
        "typo": ["Acute kidny failure with tubular necrosis", TITLE, "ATN"],
        "reordered": [TURNED, "necrosis of tubules", "kidney failure, acute, with tubular necrosis"],
        "paraphrased": ["ATN, N17.0", "Acute cortical necrosis", "his renal tubules died off", "left renal tubules died"],
        "mixed": [TURNED, "AKF w/ tubuler necrosis", "AKF w/o tubuler necrosis", "tubular nercosis with acute kidney failure"],
    }
    asked = []

    def propose(variation: str, code: str, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        asked.append((variation, code, title))
        yield from ((text, "llm:test") for text in said[variation])

    plan = Plan.model_validate({"train_variants": PLAN["train_variants"], "validation_variants": 0, "test_variants": 1})
    built = build_examples(codes, ["N17.0"], plan, propose=propose)
    texts = {example.text for rows in built.examples.values() for example in rows if example.scenario != "base"}
    assert texts == {
        "AKF w/ tub necr", "ARF w/ tubular necrosis", "Acute kidny failure with tubular necrosis", TURNED,
        "kidney failure, acute, with tubular necrosis", "his renal tubules died off",
        "AKF w/ tubuler necrosis", "tubular nercosis with acute kidney failure",
    }  # fmt: skip
    assert {example.source for rows in built.examples.values() for example in rows} == {"cms", "llm:test"}
    assert sorted(asked) == sorted((variation, "N17.0", codes.title("N17.0")) for variation in VARIATIONS)
    assert built.rejected["paraphrased: carries a code"] == 1
    assert built.rejected["abbreviated: changes a side, digit, negation or encounter"] == 1
    assert built.rejected["mixed: changes a side, digit, negation or encounter"] == 1
    assert Counter(example.scenario for example in built.examples["test"])["abbreviated"] == 1


def test_plausible_is_what_keeps_men_from_being_pregnant(codes: CodeSet) -> None:
    chosen = codes.select(["O14", "N40"])
    plans = {}
    for plausible in (True, False):
        multiple = {"train": 40, "max_conditions": 2, "plausible": plausible}
        plans[plausible] = build_examples(codes, chosen, Plan.model_validate({"train_variants": {}, "multiple": multiple}))
    rows = [example for example in plans[False].examples["train"] if example.scenario == "multiple"]
    assert rows and all(len(example.codes) == 2 for example in rows)
    assert [example for example in plans[True].examples["train"] if example.scenario == "multiple"] == []
    assert plans[True].rejected["multiple: no two conditions of the slice go together"] > 0


def test_chapter_weights_choose_what_comes_up(codes: CodeSet) -> None:
    multiple = {"train": 30, "prior": {"chapter_weights": {9: 3, 10: 1}}}
    built = build_examples(codes, codes.codes[::50], Plan.model_validate({"train_variants": {}, "multiple": multiple}))
    drawn = Counter(code[0] for example in built.examples["train"] if example.scenario == "multiple" for code in example.codes)
    assert set(drawn) == {"I", "J"} and drawn["I"] > drawn["J"]


def test_entries_of_an_index_paraphrase_their_code(codes: CodeSet, shared_data: Path) -> None:
    index = shared_data / "icd10cm" / "icd10cm_eindex_2026.xml.gz"
    plan = Plan.model_validate({"train_variants": {"paraphrased": 6}, "index_files": [str(index)]})
    built = build_examples(codes, codes.select(["V94", "W20"]), plan)
    texts = [example for rows in built.examples.values() for example in rows if example.source == "rules:index"]
    assert any("barefoot water skier" in example.text.casefold() for example in texts if example.codes[0].startswith("V94.4"))
    assert all("encounter" in example.text.casefold() or "sequela" in example.text.casefold() for example in texts)


def test_some_codes_have_no_variant_in_train_and_say_so(codes: CodeSet) -> None:
    chosen = codes.select(["E11", "S52.0", "O14", "P07", "I"])
    plan = Plan.model_validate(PLAN | {"held_out_codes": 0.1, "multiple": {"train": 60, "validation": 20, "test": 20}})
    built = build_examples(codes, chosen, plan)
    trained = {code for row in built.examples["train"] if row.scenario != "base" for code in row.codes}
    unseen = set(chosen) - trained
    assert 0.05 * len(chosen) < len(unseen) < 0.15 * len(chosen) and unseen == built.unseen
    assert {row.held_out for row in built.examples["train"]} == {""}
    labelled = Counter[tuple[str, str]]()
    for split in ("validation", "test"):
        for row in built.examples[split]:
            assert row.held_out == ("code" if row.scenario != "base" and unseen & set(row.codes) else "variant"), row
            labelled[row.scenario, row.held_out] += 1
    assert all(labelled[name, "code"] > 0.5 * len(unseen) for name in ("reordered", "abbreviated", "typo", "paraphrased"))
    assert (
        labelled["multiple", "code"] > 0
        and {row.codes[0] for row in built.examples["train"] if row.scenario == "base"} > unseen
    )
    # the same codes are unseen whatever else is in the slice
    assert build_examples(codes, codes.select(["O14"]), plan).unseen == {code for code in unseen if code.startswith("O14")}
