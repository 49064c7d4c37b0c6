"""Records become examples: codes read, texts dropped for a reason that is counted, splits given, labels chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data_gen.examples import Example
from eval.corpora.code_reader import KEPT, LOST, MAPPED, CodeReader, read_procedure
from eval.corpora.records import Ledger, Record
from eval.corpora.settings import CorpusSettings
from eval.corpora.splits import SPLIT_NAMES, draw_split, find_leaks, read_split_file
from icd10cm.codeset import CodeSet

SMOKING = ("F17.210", "Z87.891")


class Placed(NamedTuple):
    """An example whose text still waits in the staged file, at `row`; `stay` is the admission."""

    row: int
    example: Example
    stay: str


class Assembled(NamedTuple):
    """The examples of a corpus by row, and its labels with their counts in train (empty where every code counts)."""

    placed: list[Placed]
    labels: dict[str, int]


def assemble(records: Iterable[Record], settings: CorpusSettings, codeset: CodeSet, ledger: Ledger, source: str) -> Assembled:
    """Return the examples of `records`, without texts, and count in `ledger` what became of every text and code."""
    placed = list(_read_all(records, settings, codeset, ledger, source))
    placed = _give_splits(placed, settings, ledger)
    labels: dict[str, int] = {}
    if settings.labels == "top":
        labels = choose_labels([one.example for one in placed], settings.n_labels)
        placed = _limit_labels(placed, labels, ledger)
    ledger.count("texts", "in the examples", len(placed))
    ledger.count("labels", "in the examples", sum(len(one.example.codes) for one in placed))
    return Assembled(sorted(placed, key=lambda one: one.row), labels)


def choose_labels(examples: Iterable[Example], number: int) -> dict[str, int]:
    """Return the most frequent codes of the training split with their counts, most frequent first, ties in code order."""
    counts = Counter(code for example in examples if example.split == "train" for code in example.codes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number])


def _read_all(
    records: Iterable[Record], settings: CorpusSettings, codeset: CodeSet, ledger: Ledger, source: str
) -> Iterable[Placed]:
    reader = CodeReader(codeset, settings.map_retired, settings.code_map)
    for outcome in (KEPT, *MAPPED, *LOST):
        ledger.count("diagnoses", outcome, 0)
    for record in records:
        codes, n_lost = _read_codes(record, reader, settings, ledger)
        if settings.procedures:
            codes += _read_procedures(record, ledger)
        fate = _find_fate(codes, n_lost, settings)
        if n_lost and not fate:
            ledger.count("texts", "(kept with the codes that are left, one or more being lost)")
        if fate:
            ledger.count("texts", fate)
            ledger.count("labels", "of texts dropped", len(codes))
            continue
        split = SPLIT_NAMES.get(record.split, record.split)
        example = Example(
            record.id, "note", "", tuple(codes), split, source, codeset.release, "", record.patient, record.attributes
        )
        yield Placed(record.row, example, record.stay)


def _read_codes(record: Record, reader: CodeReader, settings: CorpusSettings, ledger: Ledger) -> tuple[list[str], int]:
    """Return the distinct codes of a record in their order, and how many are lost."""
    found: dict[str, None] = {}
    n_lost = 0
    for text in record.codes:
        code, outcome = reader.read(text)
        ledger.count("diagnoses", outcome)
        if outcome in LOST:
            n_lost += 1
            ledger.lose(text.strip().upper()[:12], outcome)
        elif code in found:
            ledger.count("labels", "the same code again in a text")
        elif settings.smoking_codes == "drop" and code in SMOKING:
            ledger.count("labels", "smoking codes (smoking_codes: drop)")
        else:
            found[code] = None
    return list(found), n_lost


def _read_procedures(record: Record, ledger: Ledger) -> list[str]:
    found = dict.fromkeys(filter(None, map(read_procedure, record.procedures)))
    ledger.count("procedures", "rows", len(record.procedures))
    ledger.count("procedures", "not the shape of ICD-10-PCS, or again in a text", len(record.procedures) - len(found))
    return list(found)


def _find_fate(codes: Sequence[str], n_lost: int, settings: CorpusSettings) -> str:
    """Return why a text is dropped; empty when it is kept."""
    if not codes:
        return "dropped: no code is left"
    if n_lost and settings.lost_codes == "drop_note":
        return "dropped: one of its codes is lost (lost_codes: drop_note)"
    return ""


def _give_splits(placed: list[Placed], settings: CorpusSettings, ledger: Ledger) -> list[Placed]:
    """Return the examples with their splits; those that a split file does not name are dropped."""
    if settings.split_file:
        ids = {
            "note_id": [one.example.id for one in placed],
            "hadm_id": [one.stay for one in placed],
            "subject_id": [one.example.patient for one in placed],
        }
        splits, how = read_split_file(settings.split_file, ids)
        ledger.remarks.append(how)
    else:
        splits = [one.example.split or _draw(one, settings) for one in placed]
        ledger.remarks.append(_describe_split(placed, settings))
    given: list[Placed] = []
    for one, split in zip(placed, splits, strict=True):
        if split:
            given.append(one._replace(example=one.example._replace(split=split)))
        else:
            ledger.count("texts", "dropped: not in the split file")
            ledger.count("labels", "of texts dropped", len(one.example.codes))
    n_leaks = find_leaks([one.example.patient for one in given], [one.example.split for one in given])
    ledger.count("leaks", "patients in more than one split", n_leaks)
    return given


def _draw(placed: Placed, settings: CorpusSettings) -> str:
    unit = placed.example.patient or placed.stay or placed.example.id
    return draw_split(unit, settings.seed, settings.validation_share, settings.test_share)


def _describe_split(placed: Sequence[Placed], settings: CorpusSettings) -> str:
    if placed and all(one.example.split for one in placed):
        return "split as the corpus says"
    unit = "patient" if any(one.example.patient for one in placed) else "text"
    shares = f"{settings.validation_share:.0%} validation, {settings.test_share:.0%} test"
    return f"split by {unit}, a hash with seed {settings.seed}: {shares}"


def _limit_labels(placed: list[Placed], labels: dict[str, int], ledger: Ledger) -> list[Placed]:
    """Return the examples with their codes among `labels` only; those that have none are dropped."""
    limited: list[Placed] = []
    for one in placed:
        codes = tuple(code for code in one.example.codes if code in labels)
        ledger.count("labels", f"not among the {len(labels)} labels", len(one.example.codes) - len(codes))
        if codes:
            limited.append(one._replace(example=one.example._replace(codes=codes)))
        else:
            ledger.count("texts", f"dropped: none of its codes is among the {len(labels)} labels")
    return limited
