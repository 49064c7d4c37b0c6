"""The tabular list as data: every note accounted for, and the same as another reader of the same file finds."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.errors import CodeFileError
from icd10cm.notes import count_notes
from icd10cm.tabular import Tabular, find_embedded_xml
from icd10cm.tabular_xml import iterate_leaves, pad_code, read_tabular_xml

ACCESSORS = {
    "excludes1": "get_excludes1",
    "excludes2": "get_excludes2",
    "includes": "get_includes",
    "inclusion_term": "get_inclusion_term",
    "use_additional_code": "get_use_additional_code",
    "code_first": "get_code_first",
    "code_also": "get_code_also",
    "note": "get_notes",
}


@pytest.fixture(scope="module", params=["2026", "2021"])
def source(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return find_embedded_xml() if request.param == "2026" else shared_data / "icd10cm" / "icd10cm_tabular_2021.xml.gz"


@pytest.fixture(scope="module")
def tabular(source: Path) -> Tabular:
    return Tabular.load(source)


def read_bytes(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")


def test_every_note_of_the_file_is_kept(source: Path, tabular: Tabular) -> None:
    assert len(tabular.all_notes()) == len(re.findall(r"<note[ >]", read_bytes(source)))
    counts = count_notes(tabular)
    assert sum(counts.values()) == len(tabular.all_notes())
    assert {kind for kind, _ in counts} >= set(ACCESSORS)


def test_at_least_97_percent_of_the_excludes1_references_are_read(tabular: Tabular) -> None:
    notes = [note for note in tabular.all_notes() if note.kind == "excludes1"]
    with_reference = [note for note in notes if note.status != "none"]
    resolved = [note for note in with_reference if note.status == "resolved"]
    print({status: sum(note.status == status for note in notes) for status in ("resolved", "partly", "unresolved", "none")})
    assert len(notes) > 5_000
    assert len(resolved) / len(with_reference) >= 0.97
    assert len(resolved) / len(notes) >= 0.97


def test_targets_are_nodes_of_the_same_file_or_full_codes(source: Path, tabular: Tabular) -> None:
    raw = read_tabular_xml(source)
    full = {pad_code(leaf) + char for leaf, sevenths in iterate_leaves(raw) for char in sevenths}
    for note in tabular.all_notes():
        assert all(target in tabular.titles or target in full for target in note.targets), note


def test_seventh_characters_give_the_codes_of_the_release(source: Path, tabular: Tabular, shared_data: Path) -> None:
    raw = read_tabular_xml(source)
    spelled = {pad_code(leaf) + char if char else leaf for leaf, sevenths in iterate_leaves(raw) for char in sevenths or [""]}
    order = shared_data / "icd10cm" / "icd10cm_order_2021.txt.gz"
    codes = CodeSet.load() if tabular.release == "2026" else CodeSet.load(order)
    missing = set(codes.codes) - spelled
    extra = spelled - set(codes.codes)
    assert not missing
    # of a patient who died of a brain injury no later encounter is coded, says a note at S06
    assert all(re.fullmatch(r"S06\.\w\w[78][DS]", code) for code in extra)


def test_an_independent_reader_finds_the_same_notes_at_the_same_nodes() -> None:
    import simple_icd_10_cm as library

    tabular = Tabular.load()
    compared = 0
    for name in tabular.titles:
        first, _, last = name.partition("-")
        asked = first if first == last else name
        if not library.is_valid_item(asked):
            assert not tabular.notes(name), name
            continue
        for kind, accessor in ACCESSORS.items():
            theirs = getattr(library, accessor)(asked, prioritize_blocks=bool(last))
            lines = theirs if isinstance(theirs, list) else [line for line in theirs.split("\n") if line]
            ours = [note.text for note in tabular.notes(name, kind)]
            assert sorted(" ".join(line.split()) for line in lines) == sorted(ours), (name, kind)
            compared += len(ours)
    assert compared > 24_000


def test_notes_are_inherited_from_subcategory_category_block_and_chapter() -> None:
    tabular = Tabular.load()
    assert tabular.ancestors("V43.52XA") == ("V43.52XA", "V43.52", "V43.5", "V43", "V40-V49", "V00-V99", "V00-X58", "20")
    kinds = {note.node for note in tabular.notes("E11.621", inherited=True)}
    assert {"E11.621", "E11", "4"} <= kinds
    assert not tabular.notes("E11.621", "excludes1")
    assert "E10" in {target for note in tabular.notes("E11.621", "excludes1", inherited=True) for target in note.targets}
    assert tabular.seventh_characters("S52.011")["A"] == "initial encounter for closed fracture"
    assert "B" in tabular.seventh_characters("S52.501") and "B" not in tabular.seventh_characters("S52.011")
    assert tabular.seventh_characters("I10") == {}


def test_the_second_load_reads_the_cache_and_gives_the_same(tmp_path: Path) -> None:
    script = (
        "import sys; from icd10cm.tabular import Tabular; t = Tabular.load();"
        "print(len(t.all_notes()), hash(t.all_notes()), len(t.titles)); print('icd10cm.tabular_xml' in sys.modules)"
    )
    environment = {**os.environ, "ICDTUNE_CACHE": str(tmp_path), "PYTHONHASHSEED": "0"}

    def load() -> str:
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    first, second = load(), load()
    assert first == second
    (cache,) = tmp_path.glob("tabular-*.json")
    cache.write_text(cache.read_text(encoding="utf-8")[:5_000], encoding="utf-8")
    assert load() == first
    json.loads(cache.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not well-formed XML"),
        (b"<html><body>Sign in</body></html>", "not a tabular list"),
        (b"<ICD10CM.tabular><version>2026</version></ICD10CM.tabular>", "holds 0 nodes"),
        (gzip.compress(b"<ICD10CM.tabular>" * 50, mtime=0)[:40], "damaged gzip file"),
        (b"\xff\xfe\x00", "not well-formed XML"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "tabular.xml"
    path.write_bytes(content)
    with pytest.raises(CodeFileError, match=said) as raised:
        Tabular.load(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeFileError, match="cannot be read"):
        Tabular.load(tmp_path / "none.xml")
