"""MIMIC-IV (v2.2, v3.1) as records: discharge summaries with the ICD-10 diagnoses of their admissions.

One text per admission: of several discharge summaries the longest counts (of equally long ones the latest), since the codes
are those of the whole stay; addenda do not. Codes are in the order of `seq_num`, principal first. Notes are read once, a few MB
at a time, into a staged file, and joined by DuckDB; only texts whose admission has ICD-10 diagnoses are in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from eval.corpora.clinical import HEADING, SAMPLE, check_columns, check_sample
from eval.corpora.code_reader import CodeReader
from eval.corpora.records import TEXTS, Ledger, Record
from eval.corpora.settings import CorpusSettings
from eval.corpora.tables import (
    explain_errors,
    fetch_one,
    fetch_rows,
    find_table,
    open_tables,
    quote,
    read_batches,
    read_columns,
    show_progress,
    write_scan,
)
from icd10cm.codeset import CodeSet

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ABOUT = (
    "MIMIC-IV and MIMIC-IV-Note, PhysioNet (credentialed access, data use agreement): discharge summaries with the diagnoses "
    "billed for their admissions. One text per admission: the longest of several discharge summaries, no addenda."
)
SOURCE = "mimic-iv"

_DIAGNOSES = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
_NOTES = ("note_id", "subject_id", "hadm_id", "text")
_PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year")
_ADMISSIONS = ("hadm_id", "admittime", "admission_type", "insurance", "language", "race")
_STAGED = pa.schema(
    [(name, pa.string()) for name in ("id", "patient", "stay", "kind", "number")]
    + [("written", pa.bool_()), ("n", pa.int32()), ("text", pa.string())]
)

_FATES = {
    "no_stay": "dropped: no admission id",
    "no_text": "dropped: no text",
    "addendum": "dropped: an addendum, or another type of note",
    "uncoded": "dropped: its admission has no ICD-10 diagnosis",
    "other_patient": "dropped: notes and diagnoses name different patients",
    "repeated": "dropped: the same note_id again",
    "shorter": "dropped: the admission has a longer summary",
}
"""What becomes of a note, in the order in which it is asked; the rest are records."""

_AGES = ((18, "under 18"), (45, "18 to 44"), (65, "45 to 64"), (80, "65 to 79"))
_RACES = ("WHITE", "BLACK", "HISPANIC", "ASIAN")
_NOT_SAID = ("UNKNOWN", "UNABLE", "PATIENT DECLINED")


class Tables(NamedTuple):
    """The files of a folder; those that are optional may be None."""

    diagnoses: Path
    notes: Path
    patients: Path | None
    admissions: Path | None
    procedures: Path | None


def gather(settings: CorpusSettings, work: Path, ledger: Ledger) -> Iterator[Record]:
    """Yield a record for each discharge summary that counts; texts and tables are kept in `work`."""
    tables = find_tables(settings)
    with open_tables(work, settings.memory_limit, settings.threads) as connection, explain_errors(work):
        check_notes(tables)
        read_diagnoses(connection, tables.diagnoses, ledger)
        read_procedures(connection, tables.procedures, ledger)
        stage_notes(connection, tables.notes, work)
        judge_notes(connection, work, ledger)
        read_people(connection, tables, ledger)
        yield from list_records(connection)


def find_files(settings: CorpusSettings) -> list[Path]:
    """Return the files that are read. Raises `DataError` where one is missing."""
    return [path for path in find_tables(settings) if path is not None]


def preview(settings: CorpusSettings, work: Path, ledger: Ledger, codeset: CodeSet) -> None:
    """Check the files and count what the diagnoses would become, without reading all notes."""
    tables = find_tables(settings)
    reader = CodeReader(codeset, settings.map_retired, settings.code_map)
    with open_tables(work, settings.memory_limit, settings.threads) as connection:
        check_notes(tables)
        read_diagnoses(connection, tables.diagnoses, ledger)
        for code, number in fetch_rows(
            connection, "SELECT code, count(*) FROM diagnoses WHERE icd10 GROUP BY code ORDER BY code"
        ):
            ledger.count("diagnoses", reader.read(code).outcome, number)


def find_tables(settings: CorpusSettings) -> Tables:
    """Return the files to read. Raises `DataError` that names what is missing."""
    assert settings.folder is not None
    diagnoses = find_table(settings.folder, "hosp", "diagnoses_icd")
    notes = find_table(settings.note_folder or settings.folder, "note", "discharge")
    assert diagnoses is not None and notes is not None
    patients, admissions = (find_table(settings.folder, "hosp", name, False) for name in ("patients", "admissions"))
    procedures = find_table(settings.folder, "hosp", "procedures_icd") if settings.procedures else None
    return Tables(diagnoses, notes, patients, admissions, procedures)


def check_notes(tables: Tables) -> None:
    """Refuse a file of notes that has not the right columns, or holds other texts. Raises `DataError`."""
    columns = read_columns(tables.notes)
    check_columns(columns, tables.notes)
    batches = read_batches(tables.notes, columns, _NOTES)
    texts = (text for batch in batches for text in batch.column("text").to_pylist() if text and text.strip())
    check_sample(list(itertools.islice(texts, SAMPLE)), tables.notes, need_headings=True)


def read_diagnoses(connection: DuckDBPyConnection, path: Path, ledger: Ledger) -> None:
    """Make the tables `diagnoses` (ICD-10 rows) and `stays` (their admissions, codes in order) from a CSV file."""
    scan = write_scan(path, read_columns(path), _DIAGNOSES)
    with explain_errors(path), show_progress(connection, path.name):
        connection.execute(
            f"""CREATE TABLE diagnoses AS SELECT {_read_id("hadm_id")} AS stay, {_read_id("subject_id")} AS patient,
            TRY_CAST(trim(seq_num) AS INTEGER) AS place, coalesce(trim(icd_code), '') AS code, trim(icd_version) = '10' AS icd10
            FROM {scan}"""
        )
        total, icd10, placeless = fetch_one(
            connection,
            "SELECT count(*), count(*) FILTER (icd10), count(*) FILTER (icd10 AND stay IS NULL) FROM diagnoses",
        )
        connection.execute(
            """CREATE TABLE stays AS SELECT stay, min(patient) AS patient, count(DISTINCT patient) AS patients,
            list(code ORDER BY place NULLS LAST, code) AS codes FROM diagnoses WHERE icd10 AND stay IS NOT NULL GROUP BY stay"""
        )
    ledger.count("rows", "diagnoses", total)
    ledger.count("rows", "diagnoses of ICD-9 (or of no version), left out", total - icd10)
    ledger.count("rows", "diagnoses of ICD-10", icd10)
    ledger.count("rows", "diagnoses of ICD-10 without an admission id, left out", placeless)
    ledger.count("rows", "admissions with a diagnosis of ICD-10", fetch_one(connection, "SELECT count(*) FROM stays")[0])


def read_procedures(connection: DuckDBPyConnection, path: Path | None, ledger: Ledger) -> None:
    """Make the table `operations`: the ICD-10-PCS codes of an admission, in order; empty without a file."""
    connection.execute("CREATE TABLE operations (stay BIGINT, codes VARCHAR[])")
    if path is None:
        return
    scan = write_scan(path, read_columns(path), _DIAGNOSES)
    with explain_errors(path):
        connection.execute(
            f"""INSERT INTO operations SELECT {_read_id("hadm_id")} AS stay, list(coalesce(trim(icd_code), '')
            ORDER BY TRY_CAST(trim(seq_num) AS INTEGER) NULLS LAST, icd_code) FROM {scan}
            WHERE trim(icd_version) = '10' GROUP BY stay"""
        )
    ledger.count(
        "rows", "procedures of ICD-10", fetch_one(connection, "SELECT coalesce(sum(len(codes)), 0) FROM operations")[0]
    )


def stage_notes(connection: DuckDBPyConnection, path: Path, folder: Path) -> None:
    """Write the notes into the staged file, each text only where its admission has ICD-10 diagnoses."""
    columns = read_columns(path)
    coded = pa.array([str(stay) for (stay,) in fetch_rows(connection, "SELECT stay FROM stays")], pa.string())
    wanted = [*_NOTES, *(name for name in ("note_type", "note_seq") if name in columns)]
    bar = tqdm(desc=path.name, unit=" notes", mininterval=1, delay=1)
    with pq.ParquetWriter(folder / TEXTS, _STAGED, compression="lz4") as writer, bar:
        for batch in read_batches(path, columns, wanted):
            writer.write_batch(_stage_batch(batch, coded))
            bar.update(len(batch))


def _stage_batch(batch: pa.RecordBatch, coded: pa.Array) -> pa.RecordBatch:
    """Return a batch of notes as it is staged; an id that another program saved as 20000001.0 is 20000001."""
    text = batch.column("text")
    patient, stay = (
        pc.replace_substring_regex(pc.utf8_trim_whitespace(batch.column(name)), r"\.0+$", "")
        for name in ("subject_id", "hadm_id")
    )
    nothing = pa.nulls(len(batch), pa.string())
    found = {
        "id": pc.utf8_trim_whitespace(batch.column("note_id")),
        "patient": patient,
        "stay": stay,
        "kind": pc.utf8_trim_whitespace(batch.column("note_type")) if "note_type" in batch.schema.names else nothing,
        "number": batch.column("note_seq") if "note_seq" in batch.schema.names else nothing,
        "written": pc.fill_null(pc.match_substring_regex(text, r"\S"), False),
        "n": pc.utf8_length(text),
        "text": pc.if_else(pc.is_in(stay, value_set=coded), text, nothing),
    }
    return pa.RecordBatch.from_pydict(found, schema=_STAGED)


def judge_notes(connection: DuckDBPyConnection, folder: Path, ledger: Ledger) -> None:
    """Make the table `notes`, each with what becomes of it (null for a record), and count that."""
    staged = f"read_parquet({quote(str(folder / TEXTS))}, file_row_number=true)"
    connection.execute(
        f"""CREATE TABLE notes AS
        WITH judged AS (
            SELECT row, id, n.patient, n.stay, number, n, CASE
                WHEN n.stay IS NULL THEN 'no_stay' WHEN NOT written THEN 'no_text' WHEN kind <> 'DS' THEN 'addendum'
                WHEN s.stay IS NULL THEN 'uncoded'
                WHEN s.patients > 1 OR n.patient IS DISTINCT FROM s.patient THEN 'other_patient' END AS fate
            FROM (SELECT file_row_number AS row, coalesce(nullif(id, ''), 'note of ' || stay) AS id,
                TRY_CAST(patient AS BIGINT) AS patient, TRY_CAST(stay AS BIGINT) AS stay, coalesce(kind, 'DS') AS kind,
                TRY_CAST(trim(number) AS INTEGER) AS number, written, n FROM {staged}) n
            LEFT JOIN stays s ON n.stay = s.stay),
        once AS (
            SELECT * REPLACE (CASE WHEN fate IS NULL AND row_number() OVER (PARTITION BY id, fate ORDER BY row) > 1
                THEN 'repeated' ELSE fate END AS fate) FROM judged)
        SELECT * REPLACE (CASE WHEN fate IS NULL
            AND row_number() OVER (PARTITION BY stay, fate ORDER BY n DESC, number DESC NULLS LAST, row DESC) > 1
            THEN 'shorter' ELSE fate END AS fate) FROM once"""
    )
    counts = dict(fetch_rows(connection, "SELECT coalesce(fate, ''), count(*) FROM notes GROUP BY ALL"))
    ledger.count("texts", "notes in the file", sum(counts.values()))
    for fate, text in _FATES.items():
        ledger.count("texts", text, counts.get(fate, 0))
    unnoted = "SELECT count(*) FROM stays WHERE stay NOT IN (SELECT stay FROM notes WHERE fate IS NULL)"
    ledger.count("rows", "admissions with a diagnosis of ICD-10 and no note that counts", fetch_one(connection, unnoted)[0])
    unheaded = f"SELECT count(*) FROM {staged} WHERE written AND NOT regexp_matches(text, {quote(HEADING)})"
    n_unheaded = fetch_one(connection, unheaded)[0]
    ledger.remarks.append(f"{n_unheaded:,} notes of admissions with ICD-10 diagnoses have no heading of a discharge summary")


def read_people(connection: DuckDBPyConnection, tables: Tables, ledger: Ledger) -> None:
    """Make the tables `patients` and `admissions`, one row each; empty, with a remark, where there is no file."""
    wanted = (("patients", "subject_id", _PATIENTS, tables.patients), ("admissions", "hadm_id", _ADMISSIONS, tables.admissions))
    for name, key, columns, path in wanted:
        others = [column for column in columns if column != key]
        if path is None:
            empty = ", ".join(f"NULL::VARCHAR AS {column}" for column in others)
            connection.execute(f"CREATE TABLE {name} AS SELECT NULL::BIGINT AS key, {empty} LIMIT 0")
            ledger.remarks.append(f"{name}.csv.gz is not there: what it says of patients is missing from the attributes")
            continue
        scan = write_scan(path, read_columns(path), columns)
        picked = ", ".join(f"min(trim({column})) AS {column}" for column in others)
        with explain_errors(path):
            connection.execute(f"CREATE TABLE {name} AS SELECT {_read_id(key)} AS key, {picked} FROM {scan} GROUP BY key")
        ledger.count("rows", name, fetch_one(connection, f"SELECT count(*) FROM {name}")[0])


def list_records(connection: DuckDBPyConnection) -> Iterator[Record]:
    """Yield a record for each note that counts, in the order of the file."""
    query = """SELECT n.row, n.id, n.patient, n.stay, s.codes, coalesce(o.codes, []), gender, anchor_age, anchor_year,
        year(TRY_CAST(admittime AS TIMESTAMP)), race, insurance, language, admission_type
        FROM notes n JOIN stays s ON n.stay = s.stay LEFT JOIN operations o ON n.stay = o.stay
        LEFT JOIN patients p ON n.patient = p.key LEFT JOIN admissions a ON n.stay = a.key
        WHERE n.fate IS NULL ORDER BY n.row"""
    for row, note, patient, stay, codes, operations, *facts in fetch_rows(connection, query):
        yield Record(row, note, str(patient), tuple(codes), _list_attributes(*facts), str(stay), "", tuple(operations))


def _read_id(column: str) -> str:
    """Return SQL that reads an id, also one that another program saved as 20000001.0."""
    return f"TRY_CAST(trim({column}) AS BIGINT)"


def _list_attributes(
    gender: str | None, age: str | None, anchor: str | None, year: int | None, race: str | None, insurance: str | None,
    language: str | None, kind: str | None,
) -> tuple[tuple[str, str], ...]:  # fmt: skip
    """Return the attributes of a stay; one that is not known is left out."""
    found: dict[str, Any] = {
        "admission_type": kind,
        "age_group": _group_age(age, anchor, year),
        "insurance": insurance,
        "language": _group_language(language),
        "race": _group_race(race),
        "sex": gender,
    }
    return tuple((name, value) for name, value in found.items() if value)


def _group_age(age: str | None, anchor: str | None, year: int | None) -> str:
    """Return the age group at admission: the anchor age, and the years since then where they can be read."""
    if not (age or "").isdigit():
        return ""
    passed = year - int(anchor) if year is not None and anchor and anchor.isdigit() else 0
    years = int(age or 0) + (passed if 0 <= passed < 100 else 0)
    return next((name for limit, name in _AGES if years < limit), "80 and over")


def _group_language(language: str | None) -> str:
    """Return English or other; v2.2 writes ENGLISH or ?, v3.1 names the language."""
    return "" if not language else "English" if language.lower() == "english" else "other"


def _group_race(race: str | None) -> str:
    """Return the first of MIMIC-IV's broad groups that a value names; `unknown` where it was not said."""
    if not race:
        return ""
    upper = race.upper()
    if upper.startswith(_NOT_SAID):
        return "unknown"
    return next((group.lower() for group in _RACES if upper.startswith(group)), "other")
