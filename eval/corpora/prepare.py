"""Make a corpus of notes with codes into examples: MIMIC-IV, CodiEsp, or your own files.

    python -m eval.corpora.prepare --config configs/corpora/mimic_iv.yaml --folder mimiciv/3.1 --note-folder mimic-iv-note/2.2
    python -m eval.corpora.prepare --config configs/corpora/codiesp.yaml
    python -m eval.corpora.prepare --corpus own --files notes.jsonl --output-dir outputs/own --dry-run

Writes `train.parquet`, `validation.parquet`, `test.parquet`, `corpus_card.md` and `run.json` into `output_dir`: what
`finetune.sft --data` trains on and `eval.predict --data` answers. The card counts everything that was dropped or changed.
The same files and settings give the same bytes of all but `run.json`. A folder with `run.json` is whole; a run that is
stopped leaves nothing, one that is killed (`kill -9`) a folder `.NAME.partial` with texts, which the next run removes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from data_gen.examples import SPLITS
from data_gen.folders import open_folder
from data_gen.restricted import KEY
from eval.corpora import codiesp, mimic, own
from eval.corpora.assemble import Assembled, assemble
from eval.corpora.card import build_card
from eval.corpora.records import TEXTS, Ledger, Record
from eval.corpora.settings import CorpusSettings
from eval.corpora.writing import write_splits
from icd10cm.codeset import CodeSet
from icd10cm.config import load_settings
from icd10cm.entry import interrupt_when_terminated, run_entry, say
from icd10cm.errors import DataError
from icd10cm.run_header import build_header, hash_file, write_json, write_text


class Corpus(Protocol):
    """A module that reads one corpus; its line in `CORPORA` is all it takes to add another."""

    ABOUT: str
    SOURCE: str

    @staticmethod
    def gather(settings: CorpusSettings, work: Path, ledger: Ledger) -> Iterator[Record]:
        """Yield the records, their texts staged in `work`; what is left out is counted in `ledger`."""

    @staticmethod
    def find_files(settings: CorpusSettings) -> Sequence[Path]:
        """Return the files that are read."""


CORPORA: dict[str, Any] = {"mimic_iv": mimic, "codiesp": codiesp, "own": own}
"""Name to the module that reads it, a `Corpus`."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare a corpus."""
    settings = load_settings(CorpusSettings, argv, doc=__doc__ or "", prog="python -m eval.corpora.prepare")
    # an interrupt in the middle of this import can end the process on the spot, with its scratch folder left behind
    import duckdb  # noqa: F401

    codeset = CodeSet.load(settings.code_file, settings.release)
    corpus: Corpus = CORPORA[settings.corpus]
    if settings.dry_run:
        show_plan(corpus, settings, codeset)
        return
    ledger = Ledger()
    with open_folder(settings.output_dir) as scratch:
        work = scratch / "work"
        work.mkdir()
        assembled = assemble(corpus.gather(settings, work, ledger), settings, codeset, ledger, corpus.SOURCE)
        check_kept(assembled, settings, ledger)
        paths = write_splits(scratch, assembled.placed, work / TEXTS, settings.is_restricted, ledger)
        shutil.rmtree(work)
        write_records(scratch, corpus, settings, codeset, assembled, ledger, paths)
    say(f"wrote {describe(assembled)} to {settings.output_dir}; corpus_card.md there says what was left out and why")


def check_kept(assembled: Assembled, settings: CorpusSettings, ledger: Ledger) -> None:
    """Refuse a corpus of which nothing is left. Raises `DataError`."""
    if not assembled.placed:
        reasons = [f"{what.removeprefix('dropped: ')} {number:,}" for what, number in ledger.sections.get("texts", {}).items()]
        raise DataError(f"{settings.corpus}: no text is left ({', '.join(reasons) or 'the files hold none'}); see the settings")


def describe(assembled: Assembled) -> str:
    """Return how many examples there are in each split."""
    counts = Counter(one.example.split for one in assembled.placed)
    return f"{len(assembled.placed):,} texts ({', '.join(f'{split} {counts[split]:,}' for split in SPLITS)})"


def write_records(
    folder: Path, corpus: Corpus, settings: CorpusSettings, codeset: CodeSet, assembled: Assembled, ledger: Ledger,
    paths: dict[str, Path],
) -> None:  # fmt: skip
    """Write the card and `run.json`."""
    hashes = {path.name: hash_file(path) for path in paths.values()}
    write_text(folder / "corpus_card.md", build_card(settings, corpus.ABOUT, assembled, ledger, codeset, hashes))
    inputs = [*corpus.find_files(settings), *(path for path in (settings.split_file, settings.code_file) if path)]
    header = build_header(
        "eval.corpora.prepare",
        settings.model_dump(mode="json"),
        inputs,
        codeset.release,
        corpus=settings.corpus,
        **{KEY: settings.is_restricted},
        labels={"kind": settings.labels, "procedures": settings.procedures, "train_counts": assembled.labels},
        counts=ledger.sections,
        remarks=ledger.remarks,
        outputs=hashes,
        code_source=codeset.source,
    )
    write_json(folder / "run.json", header)


def show_plan(corpus: Corpus, settings: CorpusSettings, codeset: CodeSet) -> None:
    """Print what a run would write; of MIMIC-IV the diagnoses and the first notes are read, of the others everything."""
    ledger = Ledger()
    files = corpus.find_files(settings)
    with interrupt_when_terminated(), tempfile.TemporaryDirectory() as folder:
        if settings.corpus == "mimic_iv":
            mimic.preview(settings, Path(folder), ledger, codeset)
        else:
            assembled = assemble(corpus.gather(settings, Path(folder), ledger), settings, codeset, ledger, corpus.SOURCE)
            check_kept(assembled, settings, ledger)
            print(f"would write {describe(assembled)}")
            example = assembled.placed[0].example
            print(f"first: {example.id} -> {', '.join(example.codes)}")
    print(f"{settings.corpus}, restricted: {settings.is_restricted}, release {codeset.release} -> {settings.output_dir}")
    for path in files:
        print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
    for section, rows in ledger.sections.items():
        for what, number in rows.items():
            print(f"{section}: {what}: {number:,}")
    for remark in ledger.remarks:
        print(remark)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
