"""Write a data set: codes and titles of one release, and the ways clinicians really write them.

    python -m data_gen.generate --config configs/demo/data.yaml
    python -m data_gen.generate --config configs/data/full.yaml --dry-run

Writes `train.parquet`, `validation.parquet`, `test.parquet`, `dataset_card.md` and `run.json` into `output_dir`.
The same configuration gives the same bytes of all but `run.json`, which holds the time and the versions of this run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field, FilePath
from tqdm import tqdm

from data_gen.build import Built, build_examples
from data_gen.card import build_card, count_rows
from data_gen.examples import SPLITS, group_by_scenario, write_examples
from data_gen.plan import Plan
from icd10cm.codeset import CodeSet
from icd10cm.config import load_settings
from icd10cm.entry import run_entry, say
from icd10cm.run_header import build_header, hash_file, write_json, write_text

_DRY_RUN_CODES = 500


class Settings(Plan):
    """What to generate, from which codes, and where to."""

    code_file: FilePath | None = Field(None, description="CMS code or order file; the embedded release when null")
    release: str | None = Field(None, description="name of the release; from the code file's name when null")
    prefixes: list[str] | None = Field(None, description="only codes that begin with one of these; all when null")
    output_dir: Path = Field(Path("outputs/data"), description="folder to write into")
    dry_run: bool = Field(False, description="print counts and some rows, write nothing")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Generate the data set of a configuration."""
    settings = load_settings(Settings, argv, doc=__doc__, prog="data_gen.generate")
    codeset = CodeSet.load(settings.code_file, settings.release)
    codes = codeset.codes if settings.prefixes is None else codeset.select(settings.prefixes)
    if settings.dry_run:
        show_plan(codeset, codes, settings)
        return 0
    built = build_examples(codeset, codes, settings, tqdm(codes, desc="variants", unit="code", mininterval=1))
    write_folder(settings.output_dir, codeset, codes, settings, built)
    say(f"wrote {sum(map(len, built.examples.values())):,} examples of {len(codes):,} codes to {settings.output_dir}")
    return 0


def show_plan(codeset: CodeSet, codes: Sequence[str], settings: Settings) -> None:
    """Print what a run would write, and a few of its rows."""
    sample = codes[:: -(-len(codes) // _DRY_RUN_CODES)]
    built = build_examples(codeset, sample, settings)
    print(f"{len(codes):,} billable codes of release {codeset.release} ({codeset.source}) -> {settings.output_dir}")
    if len(sample) < len(codes):
        print(f"counts below: {len(sample):,} codes spread over the slice; times {len(codes) / len(sample):.1f} for all but multiple")
    print(count_rows(built.examples))
    for scenario, group in group_by_scenario(built.examples["train"]).items():
        for example in group[:: -(-len(group) // 3)]:
            print(f"{scenario:12}{', '.join(example.codes):24}{example.text!r}")


def write_folder(folder: Path, codeset: CodeSet, codes: Sequence[str], settings: Settings, built: Built) -> None:
    """Write the data set beside `folder` and move it there when it is whole, `run.json` last.

    A folder with `run.json` is complete; a run that was killed leaves no file half-written, and the next one clears up.
    """
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        hashes = {}
        for split in SPLITS:
            path = scratch / f"{split}.parquet"
            write_examples(path, built.examples[split])
            hashes[path.name] = hash_file(path)
        write_text(scratch / "dataset_card.md", build_card(codeset, codes, settings, built, hashes))
        header = build_header(
            "data_gen.generate",
            settings.model_dump(mode="json"),
            [settings.code_file] if settings.code_file else [],
            codeset.release,
            outputs=hashes,
            n_codes=len(codes),
        )
        write_json(scratch / "run.json", header)
        _move_folder(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move_folder(scratch: Path, folder: Path) -> None:
    if not folder.exists():
        scratch.rename(folder)
        return
    (folder / "run.json").unlink(missing_ok=True)
    for name in _list_files():
        (scratch / name).replace(folder / name)


def _list_files() -> Iterator[str]:
    yield from (f"{split}.parquet" for split in SPLITS)
    yield from ("dataset_card.md", "run.json")


def run(argv: Sequence[str] | None = None) -> int:
    """Run `main` as an entry: one-line errors, exit status 2."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
