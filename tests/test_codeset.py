"""The code set: counts against the published files, hierarchy, the cache behind the embedded release."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from icd10cm import CodeSet, embedded
from icd10cm.codeset import CHAPTER_TITLES, CODE_SHAPE, add_dot
from icd10cm.errors import UnknownCodeError


@pytest.mark.parametrize(
    ("name", "release", "billable"),
    [
        ("icd10cm_codes_2024.txt.gz", "2024", 74_044),
        ("icd10cm_codes_2025.txt.gz", "2025", 74_260),
        ("icd10cm_codes_2026.txt.gz", "2026", 74_719),
        ("icd10cm_order_2021.txt.gz", "2021", 72_621),
    ],
)
def test_published_files_hold_the_published_number_of_codes(shared_data: Path, name: str, release: str, billable: int) -> None:
    read = CodeSet.load(shared_data / "icd10cm" / name)
    assert (len(read), read.release) == (billable, release)
    assert len(set(read.codes)) == billable
    assert list(read.codes) == sorted(read.codes)


def test_embedded_release_is_the_cms_file_of_2026(codes: CodeSet, shared_data: Path) -> None:
    published = CodeSet.load(shared_data / "icd10cm" / "icd10cm_codes_2026.txt.gz")
    assert codes.release == published.release == "2026"
    assert codes.codes == published.codes
    assert {code: codes.title(code) for code in codes.codes} == {code: published.title(code) for code in codes.codes}


def test_embedded_titles_are_clean(codes: CodeSet) -> None:
    assert len(codes) == len(set(codes.codes)) == 74_719
    for code, heading in codes.headings.items():
        assert heading.title and heading.title.isascii() and heading.title == " ".join(heading.title.split()), code


def test_every_code_has_the_shape(codes: CodeSet) -> None:
    for code in codes.headings:
        assert CODE_SHAPE.fullmatch(code) and CODE_SHAPE.fullmatch(code.replace(".", "")), code
        assert len(code) == 3 or code[3] == ".", code


def test_hierarchy_leads_from_every_code_to_its_category(codes: CodeSet) -> None:
    for code, heading in codes.headings.items():
        assert heading.billable is (not codes.children(code)), code
        if heading.parent is None:
            assert len(code) == 3, code
        else:
            assert code.startswith(heading.parent) and code in codes.children(heading.parent), code
            assert not codes.headings[heading.parent].billable, code


def test_code_file_without_headings_gets_categories(shared_data: Path, codes: CodeSet) -> None:
    read = CodeSet.load(shared_data / "icd10cm" / "icd10cm_codes_2026.txt.gz")
    assert read.parent("E11.621") == "E11" and "E11.621" in read.children("E11")
    assert read.parent("I10") is None and read.children("I10") == ()
    assert read.title("E11") == "" and not read.is_billable("E11")
    assert {read.category(code) for code in read.codes} == {codes.category(code) for code in codes.codes}


def test_order_file_keeps_the_headings(shared_data: Path) -> None:
    read = CodeSet.load(shared_data / "icd10cm" / "icd10cm_order_2021.txt.gz")
    assert (read.parent("E11.621"), read.parent("E11.62"), read.parent("E11.6"), read.parent("E11")) == (
        "E11.62",
        "E11.6",
        "E11",
        None,
    )
    assert read.title("E11.62") == "Type 2 diabetes mellitus with skin complications"
    assert len(read.headings) == 95_358


@pytest.mark.parametrize("text", ["E11.621", "e11.621", "E11621", " e11621 ", "E11.621."])
def test_methods_take_any_usual_spelling(codes: CodeSet, text: str) -> None:
    assert text in codes
    assert codes.is_billable(text)
    assert codes.title(text) == "Type 2 diabetes mellitus with foot ulcer"
    assert (codes.category(text), codes.parent(text), codes.chapter(text)) == ("E11", "E11.62", 4)


@pytest.mark.parametrize(
    "text", ["E1.1621", "E116.21", "E.11621", "E11..621", "E11.62.1", "E11 621", "", ".", "E11.621X", "1E1", "E11.62"]
)
def test_what_is_no_billable_code(codes: CodeSet, text: str) -> None:
    assert not codes.is_billable(text)


@pytest.mark.parametrize(
    ("text", "dotted"),
    [("e11621", "E11.621"), ("i10.", "I10"), ("qa00101", "QA0.0101"), ("w2189xa", "W21.89XA"), ("B20", "B20")],
)
def test_add_dot(text: str, dotted: str) -> None:
    assert add_dot(text) == dotted


@pytest.mark.parametrize(
    ("code", "chapter"),
    [("A00.0", 1), ("B99.9", 1), ("C4A.0", 2), ("D49.9", 2), ("D50.0", 3), ("D89.9", 3), ("E00.0", 4), ("F99", 5), ("G00.0", 6),
     ("H00.011", 7), ("H59.89", 7), ("H60.00", 8), ("H95.89", 8), ("I5A", 9), ("J4A.0", 10), ("K95.89", 11), ("L99", 12),
     ("M1A.00X0", 13), ("N99.89", 14), ("O9A.53", 15), ("P96.9", 16), ("Q99.9", 17), ("QA0.0101", 17), ("R99", 18),
     ("S00.00XA", 19), ("T88.9XXS", 19), ("U07.1", 22), ("V00.01XA", 20), ("Y99.9", 20), ("Z3A.01", 21), ("Z99.89", 21)],
)  # fmt: skip
def test_chapter(codes: CodeSet, code: str, chapter: int) -> None:
    assert codes.is_billable(code) and codes.chapter(code) == chapter


def test_every_code_is_in_a_chapter(codes: CodeSet) -> None:
    assert {codes.chapter(code) for code in codes.headings} == set(CHAPTER_TITLES)


@pytest.mark.parametrize("look_up", ["title", "parent", "children"])
def test_unknown_code_is_named(codes: CodeSet, look_up: str) -> None:
    with pytest.raises(UnknownCodeError, match=r"^'E11\.99' is not a code of ICD-10-CM release 2026$"):
        getattr(codes, look_up)("E11.99")


def test_select_by_prefix(codes: CodeSet) -> None:
    assert codes.select(["I10", "e11.62"]) == ("E11.620", "E11.621", "E11.622", "E11.628", "I10")
    assert codes.select([]) == ()
    with pytest.raises(UnknownCodeError, match="begins with 'E99'"):
        codes.select(["E11", "E99"])


def test_release_in_a_file_name_can_be_overruled(shared_data: Path) -> None:
    assert CodeSet.load(shared_data / "icd10cm" / "icd10cm_codes_2025.txt.gz", release="2025-april").release == "2025-april"


def load_in_new_process(cache: Path) -> subprocess.Popen[str]:
    """Start a process that loads the embedded release with its cache in `cache` and prints what it read it from."""
    program = (
        "import sys; from icd10cm import CodeSet; codes = CodeSet.load();"
        "print(len(codes), codes.title('E11.621'), 'simple_icd_10_cm' in sys.modules, sep='|')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "ICDTUNE_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a loading process and return the fields it printed."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.strip().split("|")


FROM_LIBRARY = ["74719", "Type 2 diabetes mellitus with foot ulcer", "True"]
FROM_CACHE = [*FROM_LIBRARY[:2], "False"]


def test_two_processes_write_the_cache_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "new" / "folder"
    both = [load_in_new_process(cache) for _ in range(2)]
    assert [finish(process) for process in both] == [FROM_LIBRARY, FROM_LIBRARY]
    assert finish(load_in_new_process(cache)) == FROM_CACHE
    assert len(list(cache.iterdir())) == 1


@pytest.fixture(scope="module")
def sound_cache(codes: CodeSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache file as it should be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ICDTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert embedded.load_headings() == codes.headings
        (cache,) = embedded.find_cache_folder().iterdir()
    assert embedded._read_cache(cache) == codes.headings
    return cache


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content.partition(b"\n")[2],
        lambda content: content.replace(b"\t", b" ", 1),
        lambda content: b"\xff" + content,
    ],
    ids=["cut in half", "last byte missing", "empty", "first line missing", "one field too few", "not text"],
)
def test_damaged_cache_is_noticed(sound_cache: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    damaged = tmp_path / sound_cache.name
    damaged.write_bytes(damage(sound_cache.read_bytes()))
    with pytest.raises(ValueError):
        embedded._read_cache(damaged)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new cache folder."""
    monkeypatch.setenv("ICDTUNE_CACHE", str(tmp_path))
    assert embedded.find_cache_folder() == tmp_path
    return tmp_path


def test_cut_cache_is_written_again(sound_cache: Path, cache_folder: Path, codes: CodeSet) -> None:
    cache = cache_folder / sound_cache.name
    cache.write_bytes(sound_cache.read_bytes()[:1_000_000])
    assert embedded.load_headings() == codes.headings
    assert cache.read_bytes() == sound_cache.read_bytes()


def test_cache_that_is_a_folder_leaves_nothing_behind(sound_cache: Path, cache_folder: Path, codes: CodeSet) -> None:
    (cache_folder / sound_cache.name).mkdir()
    assert embedded.load_headings() == codes.headings
    assert [path.name for path in cache_folder.iterdir()] == [sound_cache.name]


def test_cache_folder_that_cannot_be_made(cache_folder: Path, codes: CodeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache_folder / "file").write_text("in the way")
    monkeypatch.setenv("ICDTUNE_CACHE", str(cache_folder / "file" / "cache"))
    assert embedded.load_headings() == codes.headings
