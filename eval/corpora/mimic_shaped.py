"""Write a folder with the files of MIMIC-IV and invented content, for trying things without credentials.

    python -m eval.corpora.mimic_shaped --output-dir outputs/mimic_shaped --admissions 2000
    python -m eval.corpora.mimic_shaped --output-dir outputs/mimic_demo \
        --diagnoses mimic-iv-demo/hosp/diagnoses_icd.csv.gz --admissions-file mimic-iv-demo/hosp/admissions.csv.gz

Same files, columns, order and compression as MIMIC-IV, ICD-9 mixed in, and the dirt that files of this kind have: rows
twice, lower case, trailing blanks, codes of older releases, headings, codes that never were, notes that are missing, empty,
doubled or addenda, and texts full of quotes, commas, line ends and letters beyond ASCII. `planted.json` counts what was
planted. With `--diagnoses` the admissions of that table get notes, its rows are copied as they are.

The same settings give the same bytes, whatever the number of workers.
"""

from __future__ import annotations

import functools
import gzip
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, FilePath, NonNegativeFloat, NonNegativeInt, PositiveInt
from tqdm import tqdm

from data_gen.folders import FolderPath, open_folder
from data_gen.parallel import count_cores, map_in_order
from eval.corpora.mimic_rows import COLUMNS, Admission, Block, Writer, draw_stays, pick_pool, read_stays
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.run_header import build_header, write_json

_PLACES = {"discharge": "note", "diagnoses_icd": "hosp", "procedures_icd": "hosp", "admissions": "hosp", "patients": "hosp"}
_BLOCK = 400
"""Admissions whose rows are written and compressed together."""


class ShapedSettings(Settings):
    """How large a folder, and how dirty."""

    output_dir: FolderPath = Field(Path("outputs/mimic_shaped"), description="folder to write hosp/ and note/ into")
    admissions: PositiveInt = Field(2000, description="admissions to invent; three in four have a discharge note")
    codes_per_admission: float = Field(14.0, ge=2, le=40, description="diagnoses of an admission, on average")
    icd10_share: float = Field(0.4, ge=0, le=1, description="share of the admissions coded in ICD-10, the rest in ICD-9")
    dirt: NonNegativeFloat = Field(1.0, le=10, description="times the usual rate of each kind of dirt; 0 for none")
    mimic_version: str = Field("2.2", pattern=r"2\.2|3\.1", description="whose values of language and insurance: 2.2 or 3.1")
    diagnoses: FilePath | None = Field(
        None, description="diagnoses_icd.csv whose admissions get notes, instead of invented ones"
    )
    admissions_file: FilePath | None = Field(None, description="admissions.csv that goes with --diagnoses")
    plain: bool = Field(False, description="write .csv instead of .csv.gz")
    patient_facing: bool = Field(
        False, description="write letters to the patient where the notes should be, to try the refusal"
    )
    seed: int = Field(0, description="every choice comes from it")
    workers: NonNegativeInt = Field(0, description="processes; 0 for one per core")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder."""
    settings = load_settings(ShapedSettings, argv, doc=__doc__ or "", prog="python -m eval.corpora.mimic_shaped")
    if settings.output_dir.is_dir() and any(settings.output_dir.iterdir()):
        raise ConfigError(f"output_dir: {settings.output_dir} is not empty; delete it or choose another folder")
    codeset = CodeSet.load()
    if settings.diagnoses:
        stays = read_stays(settings.diagnoses, settings.admissions_file, settings.seed)
    else:
        stays = draw_stays(settings.admissions, settings.icd10_share, settings.seed)
    writer = Writer(codeset, pick_pool(codeset, settings.seed), settings.codes_per_admission, settings.dirt, settings.seed,
                    settings.mimic_version, settings.patient_facing)  # fmt: skip
    planted: Counter[str] = Counter()
    with open_folder(settings.output_dir) as scratch:
        ending = ".csv" if settings.plain else ".csv.gz"
        paths = {name: scratch / place / f"{name}{ending}" for name, place in _PLACES.items()}
        for path in paths.values():
            path.parent.mkdir(exist_ok=True)
        blocks = cut_blocks(stays)
        write = functools.partial(compress_block, writer, settings.plain)
        files = {name: path.open("wb") for name, path in paths.items()}
        try:
            for name, file in files.items():
                file.write(pack(",".join(COLUMNS[name]) + "\n", settings.plain))
            with tqdm(total=len(stays), desc="admissions", unit=" admissions", mininterval=1, delay=1) as bar:
                work = map_in_order(write, blocks, settings.workers or count_cores())
                for (packed, counts), block in zip(work, blocks, strict=True):
                    for name, content in packed.items():
                        files[name].write(content)
                    planted += counts
                    bar.update(len(block.admissions))
        finally:
            for file in files.values():
                file.close()
        write_json(scratch / "planted.json", dict(sorted(planted.items())))
        inputs = [path for path in (settings.diagnoses, settings.admissions_file) if path]
        header = build_header("eval.corpora.mimic_shaped", settings.model_dump(mode="json"), inputs, codeset.release)
        write_json(scratch / "run.json", header)
    say(f"wrote {len(stays):,} admissions, {planted['rows of discharge']:,} notes to {settings.output_dir}")


def cut_blocks(stays: Sequence[Admission]) -> list[Block]:
    """Return the admissions in blocks of whole patients, in their order."""
    blocks: list[Block] = []
    gathered: list[Admission] = []
    for _, own in itertools.groupby(stays, key=lambda stay: stay.subject_id):
        gathered += own
        if len(gathered) >= _BLOCK:
            blocks.append(Block(len(blocks), tuple(gathered)))
            gathered = []
    return [*blocks, Block(len(blocks), tuple(gathered))] if gathered else blocks


def compress_block(writer: Writer, plain: bool, block: Block) -> tuple[dict[str, bytes], Counter[str]]:
    """Return the rows of a block by table, each as a whole member of a gzip file, and what was planted."""
    texts, counts = writer.write_block(block)
    return {name: pack(text, plain) for name, text in texts.items() if text}, counts


def pack(text: str, plain: bool) -> bytes:
    """Return a text as it stands in the file."""
    return text.encode() if plain else gzip.compress(text.encode(), 4, mtime=0)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
