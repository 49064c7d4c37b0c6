"""The rows of a MIMIC-shaped folder: patients, admissions, diagnoses and notes of one block, with the dirt planted in them."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from eval.corpora.note_pool import Wording, assemble_letter, assemble_note, build_pool, word_codes
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.errors import DataError
from icd10cm.releases import list_retired

COLUMNS = {
    "patients": ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
    "admissions": (
        "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "admit_provider_id",
        "admission_location", "discharge_location", "insurance", "language", "marital_status", "race", "edregtime", "edouttime",
        "hospital_expire_flag"),
    "diagnoses_icd": ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"),
    "procedures_icd": ("subject_id", "hadm_id", "seq_num", "chartdate", "icd_code", "icd_version"),
    "discharge": ("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"),
}  # fmt: skip
"""Table to its columns, in MIMIC-IV's order."""

DIRT = {
    "diagnosis repeated": 0.01, "diagnosis in lower case": 0.01, "diagnosis with trailing blanks": 0.01,
    "diagnosis retired": 0.01, "diagnosis that is a heading": 0.003, "diagnosis that never was": 0.003,
    "diagnosis blank": 0.001,
    "admission repeated": 0.002, "note empty": 0.003, "note without admission": 0.003, "note repeated": 0.002,
    "second note": 0.01, "addendum": 0.005,
}  # fmt: skip
"""Kind of dirt to its usual rate: a diagnosis in so many, or an admission in so many."""

NOTE_SHARE = 0.77
"""Share of the admissions that have a discharge note in MIMIC-IV."""

_COMMON = (
    "I10", "E78.5", "Z87.891", "K21.9", "F32.9", "I25.10", "F41.9", "N17.9", "Z79.01", "E11.9", "Z79.4", "E03.9", "F17.210",
    "I48.91", "D62", "Z86.73", "E87.1", "J44.9", "N39.0", "Z95.5", "D64.9", "G47.33", "I50.9", "Z66", "J45.909", "I13.0",
    "Y92.230", "I12.9", "E11.22", "N18.30", "N40.0", "E87.2", "Z95.1", "Y92.9", "M10.9", "R65.21", "A41.9", "J96.01", "E66.9",
    "I25.2", "D69.6", "E87.6", "K59.00", "G89.29", "J18.9", "N18.6", "Z99.2", "E11.65", "I11.0", "F10.20", "Z90.710", "B96.20",
)  # fmt: skip
_PRINCIPAL, _TAIL, _STEEPNESS = 30, 6000, 1.05
_NEVER = ("Z9999X", "A0000", "U999", "E1199ZZ", "I100", "X")
_HEADINGS = ("E11", "I50", "N18", "J44", "S72")
_ICD9 = {
    "4019": "hypertension", "25000": "diabetes mellitus", "2724": "hyperlipidemia", "41401": "coronary artery disease",
    "42731": "atrial fibrillation", "4280": "congestive heart failure", "5849": "acute kidney injury", "53081": "GERD",
    "311": "depression", "V5861": "on anticoagulation", "V1582": "history of tobacco use", "2449": "hypothyroidism",
    "2859": "anemia", "5990": "UTI", "40390": "hypertensive CKD", "49390": "asthma", "3051": "tobacco use",
    "2851": "acute blood loss anemia", "V4582": "s/p PTCA", "32723": "sleep apnea", "412": "old MI", "496": "COPD",
    "486": "pneumonia", "30000": "anxiety", "2761": "hyponatremia", "2762": "acidosis", "5859": "CKD", "27800": "obesity",
    "51881": "acute respiratory failure", "99592": "severe sepsis", "0389": "septicemia", "78552": "septic shock",
    "00845": "C. difficile colitis", "07054": "chronic hepatitis C", "5715": "cirrhosis", "E8788": "surgical complication",
    "E8497": "place of occurrence", "V4581": "s/p CABG", "60000": "BPH", "45829": "iatrogenic hypotension",
}  # fmt: skip
_PCS, _PROCEDURES9 = ("02HV33Z", "5A1D70Z", "30233N1", "3E0G76Z", "4A023N7", "10E0XZZ", "0BH17EZ"), ("3893", "9604", "0066")
_RACES = ("WHITE",) * 6 + ("BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - PUERTO RICAN", "ASIAN - CHINESE", "OTHER", "UNKNOWN")
_TYPES = ("EW EMER.", "EU OBSERVATION", "URGENT", "SURGICAL SAME DAY ADMISSION", "ELECTIVE")
_INSURANCE = {"2.2": ("Other", "Medicare", "Medicaid"), "3.1": ("Medicare", "Private", "Medicaid", "No charge", "Other")}
_LANGUAGES = {"2.2": ("ENGLISH",) * 9 + ("?",), "3.1": ("English",) * 9 + ("Spanish", "Chinese", "")}


class Admission(NamedTuple):
    """One stay in hospital.

    Attributes:
        subject_id: the patient.
        hadm_id: the stay.
        version: 9 or 10, of the codes to draw.
        rows: rows of `diagnoses_icd` to copy; None to draw them.
        row: the row of `admissions` to copy; None to draw it.
        number: how many notes the patient may have had before.
    """

    subject_id: int
    hadm_id: int
    version: int
    number: int = 1
    rows: tuple[tuple[str, ...], ...] | None = None
    row: tuple[str, ...] | None = None


class Block(NamedTuple):
    """Admissions whose rows are written together, from a random state of their own."""

    number: int
    admissions: tuple[Admission, ...]


def draw_stays(number: int, icd10_share: float, seed: int) -> list[Admission]:
    """Return invented admissions, sorted by patient; a patient has 2.4 of them on average."""
    rng = random.Random(f"stays {seed}")
    patients = iter(sorted(rng.sample(range(10_000_000, 20_000_000), number)))
    stays = rng.sample(range(20_000_000, 30_000_000), number)
    drawn: list[Admission] = []
    while len(drawn) < number:
        subject = next(patients)
        for earlier in itertools.count(1):
            version = 10 if rng.random() < icd10_share else 9
            drawn.append(Admission(subject, stays[len(drawn)], version, earlier))
            if len(drawn) == number or rng.random() < 1 / 2.4:
                break
    return drawn


def read_stays(diagnoses: Path, admissions: Path | None, seed: int) -> list[Admission]:
    """Return the admissions of a table of diagnoses, sorted by patient. Raises `DataError` where a column is missing."""
    rows: dict[tuple[int, int], list[tuple[str, ...]]] = {}
    for row in _read_rows(diagnoses, COLUMNS["diagnoses_icd"]):
        rows.setdefault((int(row[0]), int(row[1])), []).append(row)
    known = {int(row[1]): row for row in _read_rows(admissions, COLUMNS["admissions"])} if admissions else {}
    drawn = []
    for subject, own in itertools.groupby(sorted(rows), key=lambda key: key[0]):
        for earlier, (_, stay) in enumerate(own, 1):
            given = tuple(rows[subject, stay])
            version = 10 if any(row[4].strip() == "10" for row in given) else 9
            drawn.append(Admission(subject, stay, version, earlier, given, known.get(stay)))
    return drawn


def pick_pool(codeset: CodeSet, seed: int) -> list[str]:
    """Return the codes that admissions draw from, most frequent first."""
    common = [code for code in _COMMON if codeset.is_billable(code)]
    rest = sorted(set(codeset.codes) - set(common))
    return [*common, *random.Random(f"codes {seed}").sample(rest, min(_TAIL, len(rest)))]


class Writer:
    """Writes the rows of blocks; what it writes depends on the block and the seed only."""

    def __init__(
        self, codeset: CodeSet, pool: Sequence[str], mean: float, dirt: float, seed: int, version: str, patient_facing: bool
    ):
        self._codeset, self._mean, self._dirt, self._seed, self._version = codeset, mean, dirt, seed, version
        self._wordings: dict[str, Wording] = {}
        self._codes = list(pool)
        weights = (1 / (rank + 6) ** _STEEPNESS for rank in range(len(pool)))
        self._cumulative = list(itertools.accumulate(weights))
        self._pieces = build_pool(seed)
        self._retired = [retired.code for retired in list_retired()]
        self._patient_facing = patient_facing

    def write_block(self, block: Block) -> tuple[dict[str, str], Counter[str]]:
        """Return table to CSV lines, and counts of the rows and of the dirt in them."""
        rng = random.Random(f"block {self._seed} {block.number}")
        counts: Counter[str] = Counter()
        texts = {name: io.StringIO() for name in COLUMNS}
        tables = {name: csv.writer(text, lineterminator="\n") for name, text in texts.items()}
        for subject, own in itertools.groupby(block.admissions, key=lambda stay: stay.subject_id):
            sex, age, year = rng.choice("FM"), rng.randint(18, 91), rng.randint(2110, 2190)
            tables["patients"].writerow((subject, sex, age, year, "2014 - 2016", ""))
            counts["rows of patients"] += 1
            for stay in own:
                named, diagnoses = self._draw_diagnoses(stay, rng, counts)
                rows: dict[str, Sequence[Sequence[object]]] = {
                    "diagnoses_icd": diagnoses,
                    "procedures_icd": self._draw_procedures(stay, year, rng),
                    "admissions": self._draw_admission(stay, year, rng, counts),
                    "discharge": self._write_notes(stay, named, sex, year, rng, counts),
                }
                for name, found in rows.items():
                    tables[name].writerows(found)
                    counts[f"rows of {name}"] += len(found)
        return {name: text.getvalue() for name, text in texts.items()}, counts

    def _happens(self, dirt: str, rng: random.Random, counts: Counter[str]) -> bool:
        happens = rng.random() < DIRT[dirt] * self._dirt
        counts[dirt] += happens
        return happens

    def _draw_diagnoses(
        self, stay: Admission, rng: random.Random, counts: Counter[str]
    ) -> tuple[list[Wording], list[tuple[object, ...]]]:
        """Return what the note names, and the rows."""
        if stay.rows is not None:
            codes = [(row[3], row[4].strip()) for row in stay.rows]
            return [self._find_wording(code) if version == "10" else _word_icd9(code) for code, version in codes], [*stay.rows]
        number = max(1, min(39, round(rng.gauss(self._mean, self._mean / 3))))
        if stay.version == 9:
            chosen = list(dict.fromkeys(rng.choices(list(_ICD9), k=number)))
            named = [_word_icd9(code) for code in chosen]
            return named, [(stay.subject_id, stay.hadm_id, place, code, 9) for place, code in enumerate(chosen, 1)]
        # what comes up twice is drawn once, so more are drawn
        drawn = rng.choices(self._codes, cum_weights=self._cumulative, k=number + number // 4)
        distinct = list(dict.fromkeys(drawn))[:number]
        rows: list[tuple[object, ...]] = []
        for code in distinct:
            for text in self._soil(code.replace(".", ""), rng, counts):
                rows.append((stay.subject_id, stay.hadm_id, len(rows) + 1, text, 10))
        return [self._find_wording(code) for code in distinct], rows

    def _soil(self, code: str, rng: random.Random, counts: Counter[str]) -> Iterator[str]:
        """Yield a code as the table has it, and what else comes into the table with it."""
        lower = self._happens("diagnosis in lower case", rng, counts)
        text = code.lower() if lower else code
        yield text + "  " if self._happens("diagnosis with trailing blanks", rng, counts) else text
        others = {
            "diagnosis repeated": (code,),
            "diagnosis retired": self._retired,
            "diagnosis that is a heading": _HEADINGS,
            "diagnosis that never was": _NEVER,
            "diagnosis blank": ("",),
        }
        for dirt, stock in others.items():
            if self._happens(dirt, rng, counts):
                yield rng.choice(stock).replace(".", "")

    def _draw_procedures(self, stay: Admission, year: int, rng: random.Random) -> list[tuple[object, ...]]:
        stock = _PCS if stay.version == 10 else _PROCEDURES9
        chosen = rng.sample(stock, rng.choice((0, 0, 1, 2)))
        day = f"{year}-03-0{rng.randint(1, 9)}"
        return [(stay.subject_id, stay.hadm_id, place, day, code, stay.version) for place, code in enumerate(chosen, 1)]

    def _draw_admission(self, stay: Admission, year: int, rng: random.Random, counts: Counter[str]) -> list[Sequence[object]]:
        march = f"{year + stay.number // 3}-03"
        row: Sequence[object] = stay.row or (
            stay.subject_id, stay.hadm_id, f"{march}-01 08:15:00", f"{march}-09 13:00:00", "", rng.choice(_TYPES), "P03YMR",
            "EMERGENCY ROOM", "HOME", rng.choice(_INSURANCE[self._version]), rng.choice(_LANGUAGES[self._version]),
            rng.choice(("MARRIED", "SINGLE", "WIDOWED", "")), rng.choice(_RACES), "", "", 0,
        )  # fmt: skip
        return [row, row] if self._happens("admission repeated", rng, counts) else [row]

    def _write_notes(
        self, stay: Admission, named: Sequence[Wording], sex: str, year: int, rng: random.Random, counts: Counter[str]
    ) -> list[tuple[object, ...]]:
        if stay.rows is None and rng.random() > NOTE_SHARE:
            return []
        pieces = self._pieces
        text = assemble_letter(sex, pieces, rng) if self._patient_facing else assemble_note(named, sex, pieces, rng)
        if self._happens("note empty", rng, counts):
            text = rng.choice(("", " \n"))
        hadm: object = "" if self._happens("note without admission", rng, counts) else stay.hadm_id
        time = f"{year + stay.number // 3}-03-09 00:00:00"

        def build(kind: str, number: int, text: str) -> tuple[object, ...]:
            return (f"{stay.subject_id}-{kind}-{number}", stay.subject_id, hadm, kind, number, time, time, text)

        first = 10 * stay.number
        notes = [build("DS", first, text)]
        if self._happens("note repeated", rng, counts):
            notes.append(notes[0])
        if self._happens("second note", rng, counts):
            notes.append(build("DS", first + 1, assemble_note(named[:2], sex, pieces, rng)[:3000]))
        if self._happens("addendum", rng, counts):
            notes.append(build("AD", first + 2, "ADDENDUM:\nTo the above, please add:\nDischarge Diagnosis: unchanged."))
        return notes

    def _find_wording(self, code: str) -> Wording:
        dotted = add_dot(code)
        if dotted not in self._wordings and self._codeset.is_billable(dotted):
            self._wordings[dotted] = word_codes([dotted], self._codeset, self._seed)[0]
        return self._wordings.get(dotted) or Wording(dotted, ("see problem list",))


@functools.cache
def _word_icd9(code: str) -> Wording:
    return Wording(code, (_ICD9.get(code, "see problem list"),))


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a CSV file, plain or gzip. Raises `DataError` where a column is missing."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        absent = [name for name in columns if name not in (rows.fieldnames or ())]
        if absent:
            raise DataError(f"{path}: has no column {', '.join(absent)}; give a table with the columns of MIMIC-IV")
        for row in rows:
            yield tuple(row[name] or "" for name in columns)
