"""Bare names: what a code is called when nothing more is said, and never a name of another code."""

from __future__ import annotations

import itertools
import random

import pytest

from data_gen.bare_names import list_bare_names, read_bare_names
from data_gen.build import build_examples
from data_gen.checks import BARE_NAME, PLAIN_NAME, RowChecks
from data_gen.folding import fold_text
from data_gen.plan import Plan
from data_gen.rule_writer import RuleWriter
from data_gen.terms import collect_terms
from icd10cm import CodeSet
from icd10cm.tabular import Tabular


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("Pneumonia, unspecified organism", ["Pneumonia"]),
        ("Heart failure, unspecified", ["Heart failure"]),
        ("Urinary tract infection, site not specified", ["Urinary tract infection"]),
        ("Unspecified asthma, uncomplicated", ["Unspecified asthma", "asthma"]),
        ("Congestive heart failure NOS", ["Congestive heart failure"]),
        ("Type 2 diabetes mellitus without complications", ["Type 2 diabetes mellitus"]),
        ("Essential (primary) hypertension", ["Essential hypertension"]),
        ("Family history of elevated lipoprotein(a)", []),
        ("Type 2 diabetes mellitus with foot ulcer", []),
        ("Rash, unspecified", ["Rash"]),
        ("Flu NOS", []),
    ],
)
def test_what_is_left_open_is_dropped(name: str, bare: list[str]) -> None:
    assert list_bare_names(name) == bare


def test_written_names_are_of_billable_codes(codes: CodeSet) -> None:
    assert all(codes.is_billable(code) and name == name.strip() for code, name in read_bare_names())


def test_each_means_one_code_and_passes_as_a_row(codes: CodeSet) -> None:
    tabular = Tabular.load()
    terms = collect_terms(codes, tabular)
    meant = {fold_text(term.text): code for code, found in terms.items() for term in found if term.source == BARE_NAME}
    for name, code in {"gout": "M10.9", "heart failure": "I50.9", "hypertension": "I10", "asthma": "J45.909"}.items():
        assert meant[name] == code
    own = {fold_text(codes.title(code)): code for code in codes.codes}
    assert not [name for name, code in meant.items() if own.get(name, code) != code]
    checks, writer = RowChecks(codes, tabular), RuleWriter(terms)
    texts = set()
    for text, source in itertools.islice(writer("paraphrased", "I50.9", codes.title("I50.9"), random.Random(1)), 40):
        if source == PLAIN_NAME and not checks.find_fault("paraphrased", text, fold_text(text), "I50.9", source):
            texts.add(text.lower())
    assert {"heart failure", "chf"} <= texts
    assert checks.find_fault("paraphrased", "Heart failure", "heart failure", "I11.0", PLAIN_NAME) is not None


@pytest.mark.parametrize("seed", range(6))
def test_plain_names_and_their_short_forms_are_never_held_out(codes: CodeSet, seed: int) -> None:
    names = {"I10": "hypertension", "G43.909": "migraine"}
    each = {"abbreviated": 2, "paraphrased": 12}
    plan = Plan.model_validate(
        {"seed": seed, "train_variants": each, "validation_variants": 1, "test_variants": 1, "held_out_codes": 0}
    )
    examples = build_examples(codes, list(names), plan).examples
    taught = {(example.codes[0], example.text.lower()) for example in examples["train"] if example.source == PLAIN_NAME}
    assert set(names.items()) < taught, "and short forms of them"
    held = [example for split in ("test", "validation") for example in examples[split]]
    assert not [example for example in held if example.source == PLAIN_NAME]
    assert {example.codes[0] for example in held if example.scenario == "paraphrased"} == set(names)


def test_a_code_whose_variants_are_held_out_is_taught_none_of_its_names(codes: CodeSet) -> None:
    plan = Plan.model_validate({"train_variants": {"paraphrased": 2}, "test_variants": 1, "held_out_codes": 0.999})
    examples = build_examples(codes, ["I10", "N39.0"], plan).examples
    assert {example.scenario for example in examples["train"]} == {"base"}
    assert {example.codes[0] for example in examples["test"] if example.scenario == "paraphrased"} == {"I10", "N39.0"}
