"""Index files of CMS: nesting joined, codes mapped to the release, every line accounted for."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.alphabetic_index import IndexEntry, find_node, read_index
from icd10cm.errors import CodeFileError

INDEX = """<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.index><version>2026</version>
  <letter><title>A</title>
    <mainTerm><title>Abuse<nemod>(of) (with)</nemod> NEC</title><code>F10.10</code>
      <term level="1"><title>child</title><code>T74.9-</code>
        <term level="2"><title>history  of</title><code>Z62.819</code></term>
        <term level="2"><title>confirmed</title><see>Maltreatment</see></term>
      </term>
      <term level="1"><title>long gone</title><code>Q99.99</code></term>
    </mainTerm>
    <mainTerm><title>Amyloid heart</title><code>E85.4</code><manif>I43</manif></mainTerm>
  </letter>
</ICD10CM.index>"""
NEOPLASMS = """<ICD10CM.index><version>2026</version>
  <indexHeading><head col="1">Neoplasm</head><head col="2">Malignant Primary</head><head col="5">Benign</head></indexHeading>
  <letter><title>N</title><mainTerm><title>Neoplasm, neoplastic</title><cell col="2">C80.1</cell><cell col="5">D36.9</cell>
    <term level="1"><title>adrenal</title><cell col="2">C74.9-</cell><cell col="5">-</cell></term></mainTerm></letter>
</ICD10CM.index>"""


def write(folder: Path, text: str) -> Path:
    path = folder / "index.xml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nested_terms_are_joined_and_codes_mapped(codes: CodeSet, tmp_path: Path) -> None:
    found = read_index(write(tmp_path, INDEX), codes)
    assert found.entries == (
        IndexEntry("Abuse (of) (with) NEC", "F10.10"),
        IndexEntry("Abuse (of) (with) NEC, child", "T74.9"),
        IndexEntry("Abuse (of) (with) NEC, child, history of", "Z62.819"),
        IndexEntry("Amyloid heart", "E85.4"),
    )
    assert found.unmapped == (IndexEntry("Abuse (of) (with) NEC, long gone", "Q99.99"),) and found.n_references == 1


def test_tables_have_a_phrase_for_each_column(codes: CodeSet, tmp_path: Path) -> None:
    assert read_index(write(tmp_path, NEOPLASMS), codes).entries == (
        IndexEntry("Neoplasm, neoplastic, malignant primary", "C80.1"),
        IndexEntry("Neoplasm, neoplastic, benign", "D36.9"),
        IndexEntry("Neoplasm, neoplastic, adrenal, malignant primary", "C74.9"),
    )


@pytest.mark.parametrize(
    ("printed", "node"),
    [("I10", "I10"), ("T74.2-", "T74.2"), ("s52.-", "S52"), ("Y37.6X-", "Y37.6X"), ("W64", "W64"), ("T36.0X-", "T36.0X"),
     ("Z6X", None), ("Q99.99", None), ("", None), ("-", None), ("X", None), ("XXXX", None)],
)  # fmt: skip
def test_codes_as_printed_lead_to_nodes(codes: CodeSet, printed: str, node: str | None) -> None:
    assert find_node(printed, codes) == node


def test_the_external_cause_index_is_read_whole(codes: CodeSet, shared_data: Path) -> None:
    found = read_index(shared_data / "icd10cm" / "icd10cm_eindex_2026.xml.gz", codes)
    assert len(found.entries) == 6671 and found.unmapped == () and found.n_references == 1419
    assert IndexEntry("Accident (to), boat, boating, striking swimmer, powered", "V94.11") in found.entries
    assert all(entry.code in codes and entry.phrase == " ".join(entry.phrase.split()) for entry in found.entries)


def test_plain_and_packed_read_the_same(codes: CodeSet, tmp_path: Path) -> None:
    packed = tmp_path / "index.xml.gz"
    packed.write_bytes(gzip.compress(INDEX.encode()))
    assert read_index(packed, codes) == read_index(write(tmp_path, INDEX), codes)


def test_depth_is_no_danger(codes: CodeSet, tmp_path: Path) -> None:
    deep = "".join("<term><title>t</title>" for _ in range(3000)) + "<code>I10</code>" + "</term>" * 3000
    text = f"<ICD10CM.index><letter><mainTerm><title>m</title>{deep}</mainTerm></letter></ICD10CM.index>"
    (entry,) = read_index(write(tmp_path, text), codes).entries
    assert entry.code == "I10" and entry.phrase.count(", t") == 3000


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not well-formed"),
        (b"A00 Cholera", "not well-formed"),
        (b"<ICD10CM.tabular/>", "not an index: the root element is <ICD10CM.tabular>"),
        (b"<ICD10CM.index/>", "no entry leads to a code"),
        (b'<?xml version="1.0" encoding="nonsense"?><ICD10CM.index/>', "not well-formed"),
        (gzip.compress(INDEX.encode(), mtime=0)[:-9], "damaged gzip"),
        (INDEX.encode()[:-40], "not well-formed"),
    ],
)
def test_other_files_are_refused_in_one_line(codes: CodeSet, tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "index.xml"
    path.write_bytes(raw)
    with pytest.raises(CodeFileError) as caught:
        read_index(path, codes)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_refused(codes: CodeSet, tmp_path: Path) -> None:
    with pytest.raises(CodeFileError, match="cannot be read"):
        read_index(tmp_path / "none.xml", codes)


def test_damaged_files_never_raise_anything_else(codes: CodeSet, tmp_path: Path) -> None:
    rng, raw = random.Random(4), INDEX.encode()
    packed = gzip.compress(raw)
    for number in range(2000):
        damaged = bytearray(rng.choice((raw, packed)))
        for _ in range(rng.randrange(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path = tmp_path / f"{number % 2}.xml"
        path.write_bytes(damaged[: rng.randrange(len(damaged) // 2, len(damaged) + 1)])
        try:
            found = read_index(path, codes)
        except CodeFileError:
            continue
        assert all(entry.code in codes for entry in found.entries)
