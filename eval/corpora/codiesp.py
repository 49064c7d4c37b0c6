"""CodiEsp v4 as records: clinical cases coded by professionals, CC BY 4.0, in English translation.

Reads `train.jsonl` and `dev.jsonl` (with `codes_forward`: a code that has become a heading is carried to its unspecified
child), or the folder as Zenodo publishes it (`train/trainD.tsv`, `train/text_files_en/*.txt` …).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eval.corpora.records import TEXTS, Ledger, Record, TextWriter, open_texts
from eval.corpora.rows import read_json_lines
from eval.corpora.settings import CorpusSettings
from eval.corpora.splits import draw_split
from icd10cm.errors import DataError

ABOUT = (
    "CodiEsp v4, Zenodo 10.5281/zenodo.3837305, licence CC BY 4.0: clinical cases coded by professionals, in the English "
    "machine translation that comes with it (rough). Changed here: codes are carried to the release, cases may be left out."
)
SOURCE = "codiesp"
_PARTS = ("train", "dev", "test")


def gather(settings: CorpusSettings, work: Path, ledger: Ledger) -> Iterator[Record]:
    """Yield a record per case, its text staged in `work`."""
    with open_texts(work / TEXTS) as texts:
        yield from list_records(settings, texts, ledger)


def list_records(settings: CorpusSettings, texts: TextWriter, ledger: Ledger) -> Iterator[Record]:
    """Yield a record per case. Raises `DataError` where the folder is not CodiEsp's."""
    assert settings.folder is not None
    parts = {part: path for part in _PARTS if (path := _find_part(settings.folder, part)) is not None}
    if "train" not in parts and "dev" not in parts:
        raise DataError(
            f"{settings.folder}: no CodiEsp here; it holds train.jsonl and dev.jsonl, or train/trainD.tsv and text_files_en"
        )
    ledger.remarks.append(describe_parts(settings, parts))
    for part, path in parts.items():
        for case, text, codes, whole in _read_lines(path) if path.suffix == ".jsonl" else _read_folder(path, part):
            ledger.count("texts", "cases in the files")
            if not whole and settings.all_forward:
                ledger.count("texts", "dropped: a code of it could not be carried forward (all_forward: true)")
                continue
            ledger.count("texts", "(kept though a code of it could not be carried forward)", not whole)
            # every case is another patient's
            yield Record(texts.append(text), case, case, codes, split=choose_split(part, case, settings, "test" in parts))


def find_files(settings: CorpusSettings) -> list[Path]:
    """Return the files that say the codes."""
    assert settings.folder is not None
    paths = [path for part in _PARTS if (path := _find_part(settings.folder, part)) is not None]
    return [path if path.is_file() else path / f"{path.name}D.tsv" for path in paths]


def choose_split(part: str, case: str, settings: CorpusSettings, has_test: bool) -> str:
    """Return the split of a case.

    Thresholds and calibration are chosen on validation and reported on test, so one set cannot be both: while CodiEsp's own
    test is away, its dev is the test and a share of train, by the seeded hash, the validation.
    """
    if part == "test":
        return "test"
    if part == "dev":
        return "validation" if has_test else settings.dev_split
    if has_test or settings.dev_split == "validation":
        return "train"
    return "validation" if draw_split(case, settings.seed, 0, settings.validation_share) == "test" else "train"


def describe_parts(settings: CorpusSettings, parts: dict[str, Path]) -> str:
    """Return which of CodiEsp's sets became which split."""
    if "test" in parts:
        return "CodiEsp's train, dev and test are train, validation and test"
    if settings.dev_split == "validation":
        return "CodiEsp's train is train and its dev validation; there is no test"
    share = f"{settings.validation_share:.0%} of it by a hash with seed {settings.seed}"
    return f"CodiEsp's dev is the test; its train is train, but {share}, which is validation"


def _find_part(folder: Path, part: str) -> Path | None:
    lines, published = folder / f"{part}.jsonl", folder / part
    return lines if lines.is_file() else published if (published / f"{part}D.tsv").is_file() else None


def _read_lines(path: Path) -> Iterator[tuple[str, str, tuple[str, ...], bool]]:
    for number, row in read_json_lines(path):
        absent = [key for key in ("id", "text", "codes_forward") if key not in row]
        if absent:
            raise DataError(f"{path}, line {number}: has no {', '.join(absent)}; take the file as it was prepared")
        yield row["id"], row["text"], tuple(row["codes_forward"]), bool(row.get("all_forward", True))


def _read_folder(folder: Path, part: str) -> Iterator[tuple[str, str, tuple[str, ...], bool]]:
    """Yield the cases of one published set; its table has a row per case and code."""
    by_case: dict[str, list[str]] = {}
    table = folder / f"{part}D.tsv"
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split("\t")
        if len(cells) < 2:
            raise DataError(f"{table}, line {number}: should be a case and a code with a tab between")
        by_case.setdefault(cells[0].strip(), []).append(cells[1])
    notes = folder / "text_files_en"
    for case, codes in sorted(by_case.items()):
        text = notes / f"{case}.txt"
        if not text.is_file():
            raise DataError(f"{text}: no such file, though {table.name} has codes for it; unpack the whole archive")
        yield f"codiesp-{part}-{case}", text.read_text(encoding="utf-8").strip(), tuple(codes), True
