"""How often codes come up, what comes up together, and what a table of diagnoses decides."""

from __future__ import annotations

import csv
import doctest
import gzip
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_gen import dependent
from data_gen.generate import Settings, main
from data_gen.patients import Patients
from data_gen.plan import MultiplePlan, Plan, Prior
from data_gen.prior import Allotment, check_priors, weigh_codes
from icd10cm import CodeSet
from icd10cm.config import check_settings
from icd10cm.entry import run_entry
from icd10cm.errors import ConfigError, DataError
from icd10cm.tabular import Tabular

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "data_gen" / "comorbidity.csv"
HEAD = "subject_id,hadm_id,seq_num,icd_code,icd_version"
CODES = ["E11.9", "E11.621", "E78.5", "I10", "I48.91", "J18.9"]


def draw_many(codes: CodeSet, chosen: list[str], number: int, **plan: Any) -> list[tuple[str, ...]]:
    patients = Patients(codes, Tabular.load(), chosen, MultiplePlan.model_validate(plan))
    rng = random.Random(3)
    return [patients.draw(rng) for _ in range(number)]


def weigh(codes: CodeSet, chosen: list[str], **prior: Any) -> dict[str, float]:
    return dict(zip(chosen, weigh_codes(codes, chosen, Prior.model_validate(prior)), strict=True))


@pytest.fixture
def diagnoses(tmp_path: Path) -> Path:
    """Two admissions with E11.9 and I10 and one with J18.9; a retired code, one that never was, and ICD-9."""
    rows = [
        "1,10,1,E119,10", "1,10,2,I10,10", "2,20,1,I10,10", "2,20,2,E11.9,10", "2,20,3,I10,10", "3,30,1,J189,10",
        "3,31,1,I4891,10", "4,40,1,M797,10", "4,40,2,G35,10", "5,50,1,E1199,10", "6,60,1,4139,9", "6,60,2,E8889,9",
    ]  # fmt: skip
    path = tmp_path / "diagnoses_icd.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def test_table_names_categories_of_the_release_each_pair_once(codes: CodeSet) -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["category", "companion", "weight"]
    categories = {code[:3] for code in codes.codes}
    assert {name for one, other, _ in rows for name in (one, other)} <= categories
    assert all(one != other and weight in "12345" for one, other, weight in rows)
    assert max(Counter(frozenset(row[:2]) for row in rows).values()) == 1
    assert len(rows) > 250


def test_comorbidity_draws_pairs_of_the_table(codes: CodeSet) -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        table = {frozenset(row[:2]) for row in list(csv.reader(file))[1:]}
    chosen = list(codes.codes[::40])
    shares = {}
    for chance in (0.0, 1.0):
        drawn = draw_many(codes, chosen, 150, comorbidity=chance, min_conditions=3, max_conditions=3)
        together = [frozenset((one[:3], other[:3])) in table for one, other, *_ in drawn]
        shares[chance] = sum(together) / len(together)
    assert shares[0.0] < 0.1 and shares[1.0] > 0.5


def test_without_plausible_nothing_but_the_category_counts(codes: CodeSet) -> None:
    chosen = list(codes.codes[::500])
    rng = random.Random(3)
    expected = []
    for _ in range(50):
        wanted, found = rng.randint(2, 4), {}
        while len(found) < wanted:
            code = rng.choice(chosen)
            found.setdefault(code[:3], code)
        expected.append(tuple(found.values()))
    assert draw_many(codes, chosen, 50, plausible=False) == expected


def test_longest_beginning_counts_and_chapters_get_their_share(codes: CodeSet) -> None:
    weights = weigh(codes, CODES, code_weights={"E": 2, "E11": 3, "e11.6": 7, "I4891": 0})
    assert weights == {"E11.9": 3, "E11.621": 7, "E78.5": 2, "I10": 1, "I48.91": 0, "J18.9": 1}
    weights = weigh(codes, CODES, code_weights={"E11.9": 6}, chapter_weights={4: 4, 9: 1})
    assert weights == {"E11.9": 3, "E11.621": 0.5, "E78.5": 0.5, "I10": 0.5, "I48.91": 0.5, "J18.9": 0}


def test_weights_decide_what_is_drawn(codes: CodeSet) -> None:
    prior = {"code_weights": {"I10": 8, "J18.9": 0}}
    drawn = Counter(
        code for row in draw_many(codes, CODES, 300, prior=prior, plausible=False, max_conditions=2) for code in row
    )
    assert drawn["J18.9"] == 0 and drawn["I10"] > 1.5 * drawn["E78.5"] > 0


def test_variants_follow_the_prior_within_limits(codes: CodeSet) -> None:
    chosen = list(codes.select(["E11", "I10", "I48"]))
    plain = Plan.model_validate({"train_variants": {"typo": 5}})
    assert {Allotment(codes, chosen, plain).count_train(code, "typo") for code in chosen} == {5}
    prior = {"code_weights": {"E11.9": 50, "I10": 2.5, "E11.3": 0.01}, "least_share": 0.3, "most_share": 3}
    plan = plain.model_copy(update={"prior": Plan.model_validate({"prior": prior}).prior})
    allotment, turned = Allotment(codes, chosen, plan), Allotment(codes, chosen[::-1], plan)
    counts = {code: allotment.count_train(code, "typo") for code in chosen}
    assert counts == {code: turned.count_train(code, "typo") for code in chosen}
    assert counts["E11.9"] == 15 and allotment.count_train("E11.9", "reordered") == 0
    # 0.3 of 5 is 1 for half of the codes and 2 for the others
    few = [counts[code] for code in chosen if code.startswith("E11.3")]
    assert set(few) == {1, 2} and 1.3 < sum(few) / len(few) < 1.7


def test_counts_of_a_diagnoses_file_are_the_weights(codes: CodeSet, diagnoses: Path, capsys: pytest.CaptureFixture) -> None:
    chosen = [*CODES, "G35.D", "M79.7"]
    weights = weigh(codes, chosen, diagnoses_file=diagnoses, smoothing=0)
    assert weights == {
        "E11.9": 2, "E11.621": 0, "E78.5": 0, "I10": 2, "I48.91": 1, "J18.9": 1, "G35.D": 1, "M79.7": 1,
    }  # fmt: skip
    smooth = weigh(codes, chosen, diagnoses_file=diagnoses, smoothing=0.5)
    assert smooth["E11.621"] == 0.25 and smooth["E78.5"] == 0.5 and smooth["I10"] == 2.5
    check_priors(codes, chosen, Plan.model_validate({"note": {"prior": {"diagnoses_file": diagnoses}}}))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "1 of 9 diagnoses" in said[0]
    zipped = diagnoses.with_suffix(".csv.gz")
    zipped.write_bytes(gzip.compress(diagnoses.read_bytes()))
    assert weigh(codes, chosen, diagnoses_file=zipped, smoothing=0) == weights


def test_companions_come_from_the_diagnoses_file(codes: CodeSet, diagnoses: Path) -> None:
    prior = {"diagnoses_file": diagnoses, "smoothing": 1}
    drawn = draw_many(codes, CODES, 60, prior=prior, comorbidity=1, min_conditions=2, max_conditions=2)
    partners = Counter(row[1] for row in drawn if row[0] == "I10")
    assert partners and {code[:3] for code in partners} == {"E11"}


def test_real_admissions_can_be_drawn_after(codes: CodeSet, shared_data: Path) -> None:
    prior = {"diagnoses_file": shared_data / "mimic_iv_demo" / "diagnoses_icd.csv"}
    weights = weigh(codes, list(codes.codes), **prior)
    assert min(weights.values()) > 0 and weights["I10"] > weights["E11.9"] > weights["W56.01XA"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hadm_id,icd_code\n1,I10\n", "no column icd_version"),
        (HEAD + "\n1,10,1,4139,9\n", "no row with an ICD-10 code"),
        ("", "not a readable CSV"),
        (HEAD + "\n1,10\n", "not a readable CSV"),
    ],
)
def test_unusable_diagnoses_files_are_named(text: str, named: str, codes: CodeSet, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"table.csv: .*{named}"):
        check_priors(codes, CODES, Plan.model_validate({"prior": {"diagnoses_file": path}}))


@pytest.mark.parametrize(
    ("prior", "named"),
    [
        ({"code_weights": {"I10": -1}}, "I10 should be 0 or more"),
        ({"code_weights": {"E11": 2, "E1199": 3, "Q0Q": 1}}, "begins with 'E11.99', 'Q0Q'"),
        ({"code_weights": {"E": 0, "I": 0, "J": 0}}, "every code of the slice has weight 0"),
        ({"smoothing": 1}, "no effect"),
    ],
)
def test_wrong_weights_are_named(prior: dict[str, Any], named: str, codes: CodeSet) -> None:
    with pytest.raises(ConfigError, match=named):
        check_priors(codes, CODES, check_settings(Plan, {"multiple": {"prior": prior}}, "test"))


def test_unknown_beginning_is_one_line_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["--config", str(ROOT / "configs/data/small.yaml"), "--output-dir", str(tmp_path / "data")]
    status = run_entry(main, [*arguments, "--multiple", "{train: 5, prior: {code_weights: {E99: 2}}}"])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("icdtune")]
    assert status == 2 and len(said) == 1 and "'E99'" in said[0] and not list(tmp_path.iterdir())


def test_diagnoses_file_stays_on_this_machine(diagnoses: Path) -> None:
    prices = {"as_of": "2026-11-21", "input_per_million_usd": 1, "output_per_million_usd": 1}
    writer = {"base_url": "https://api.example.com/v1", "model": "m", "prices": prices}
    values = {"backend": "openai", "note": {"prior": {"diagnoses_file": str(diagnoses)}}}
    with pytest.raises(ConfigError, match=r"diagnoses_icd\.csv counts as clinical text.*api\.example\.com"):
        check_settings(Settings, values | {"writer": writer}, "test")
    for harmless in ({"base_url": "http://127.0.0.1:8000/v1"}, {"allow_clinical_text_to_leave": True}):
        check_settings(Settings, values | {"writer": writer | harmless}, "test")


def test_weeks_of_pregnancy_agree_and_men_are_not_pregnant(codes: CodeSet) -> None:
    chosen = list(codes.select(["O26.8", "O48", "Z3A", "N40", "D64", "E03", "F03"]))
    spans = {"first": (0, 13), "second": (14, 27), "third": (28, 42)}
    checked = 0
    for row in draw_many(codes, chosen, 400, max_conditions=4):
        weeks = [int(found[1]) for code in row if (found := re.fullmatch(r"Z3A\.([1-4]\d)", code))]
        named = [word for code in row for word in spans if f"{word} trimester" in codes.title(code)]
        assert not any(code[0] == "O" for code in row) or not any(code.startswith(("N40", "F03")) for code in row)
        assert row == () or not row[0].startswith("Z3A")
        if weeks and named:
            checked += 1
            assert all(spans[word][0] <= weeks[0] <= spans[word][1] for word in named), row
    assert checked > 20


def test_examples_of_what_hangs_on_what_hold() -> None:
    assert doctest.testmod(dependent) == (0, 2)


def test_an_accident_comes_with_an_injury_and_alone(codes: CodeSet) -> None:
    chosen = list(codes.select(["S52.50", "S06.0", "W18", "W01", "V43", "I10", "J44"]))
    seen = 0
    for row in draw_many(codes, chosen, 300, max_conditions=5):
        accidents = [code for code in row if code[0] in "VW"]
        seen += len(accidents)
        assert len(accidents) <= 1 and (not accidents or any(code[0] == "S" for code in row)), row
        # one time after the injury for all of it
        assert len({"A" if code[-1] in "ABC" else "S" if code[-1] == "S" else "D" for code in row if len(code) == 8}) <= 1, row
    assert seen > 20
