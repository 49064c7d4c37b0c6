"""What `eval.corpora.prepare` is told: which corpus, where it lies, what becomes of its codes, how it is split."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import DirectoryPath, Field, FilePath, NonNegativeInt, PositiveInt, model_validator

from data_gen.folders import FolderPath
from icd10cm.config import Settings

_COLUMN_KEYS = ("id_column", "text_column", "codes_column", "patient_column", "split_column", "attribute_columns")
_ONLY_FOR = {
    "mimic_iv": ("note_folder", "procedures"),
    "codiesp": ("all_forward", "dev_split"),
    "own": ("files", "bad_rows", *_COLUMN_KEYS),
}
"""Corpus to the settings that the others do not know."""


class CorpusSettings(Settings):
    """One corpus, made into examples."""

    corpus: Literal["mimic_iv", "codiesp", "own"] = Field(description="which corpus")
    folder: DirectoryPath | None = Field(None, description="folder of MIMIC-IV (with hosp/ and note/) or of CodiEsp")
    output_dir: FolderPath = Field(Path("outputs/corpus"), description="folder to write into")
    note_folder: DirectoryPath | None = Field(None, description="folder of MIMIC-IV-Note, where it lies elsewhere")
    files: list[FilePath] = Field([], description="your own: JSONL, CSV (also .gz) or parquet files")
    id_column: str | None = Field(None, description="your own: column of the ids; file name and line when null")
    text_column: str = Field("text", description="your own: column of the texts")
    codes_column: str = Field("codes", description="your own: column of the codes, a list or separated by , ; | or blanks")
    patient_column: str | None = Field(None, description="your own: column of the patients; null: every text is another's")
    split_column: str | None = Field(None, description="your own: column that says train, validation or test")
    attribute_columns: list[str] = Field([], description="your own: columns that scores may be broken down by")
    bad_rows: Literal["stop", "drop"] = Field("stop", description="your own: what a row without text or codes does")
    all_forward: bool = Field(True, description="CodiEsp: only cases whose every code is known or was carried forward")
    dev_split: Literal["test", "validation"] = Field("test", description="CodiEsp: what the dev set is used as")
    code_file: FilePath | None = Field(None, description="CMS code or order file; the embedded release when null")
    release: str | None = Field(None, coerce_numbers_to_str=True, description="its name; from the code file's name when null")
    map_retired: bool = Field(True, description="put the successor for a retired code; false: such codes are lost")
    code_map: dict[str, str] = Field({}, description="code of the corpus to the code of the release put for it, before all")
    lost_codes: Literal["keep_note", "drop_note"] = Field(
        "keep_note", description="a text one of whose codes has no place in the release: keep it with the others, or drop it"
    )
    labels: Literal["full", "top"] = Field("full", description="every code, or the most frequent ones of the training split")
    n_labels: PositiveInt = Field(50, description="how many with labels: top")
    smoking_codes: Literal["keep", "drop"] = Field(
        "keep", description="F17.210 and Z87.891, which are coded in MIMIC-IV though social history is removed from the notes"
    )
    procedures: bool = Field(False, description="MIMIC-IV: count ICD-10-PCS procedures as labels too, as Edin's full set does")
    split_file: FilePath | None = Field(
        None, description="published split: feather, parquet or CSV with an id column and `split`; the seeded one when null"
    )
    validation_share: float = Field(0.1, ge=0, lt=1, description="share of the patients for validation, without a split file")
    test_share: float = Field(0.15, ge=0, lt=1, description="share of the patients for test, without a split file")
    seed: int = Field(0, description="of the split by patient")
    restricted: bool | None = Field(
        None, description="texts may not be shown or leave this machine; null: true for MIMIC-IV, false for the others"
    )
    memory_limit: str = Field("1500MB", pattern=r"[0-9]+ ?[MG]i?B", description="memory of the tables; more goes to disk")
    threads: NonNegativeInt = Field(0, description="threads of the tables; 0 for one per core")
    dry_run: bool = Field(False, description="say what would be read and written, write nothing")

    @model_validator(mode="after")
    def _check_corpus(self) -> Self:
        problems = [
            f"{key!r} has no effect on {self.corpus}: it is for {corpus}"
            for corpus, keys in _ONLY_FOR.items()
            for key in keys
            if corpus != self.corpus
            and key in self.model_fields_set
            and getattr(self, key) != type(self).model_fields[key].default
        ]
        wanted = "files" if self.corpus == "own" else "folder"
        if not getattr(self, wanted):
            problems.append(f"{self.corpus} needs {wanted!r}")
        if self.corpus == "own" and self.folder:
            problems.append("'folder' has no effect on own: give 'files'")
        if self.validation_share + self.test_share >= 1:
            problems.append("'validation_share' and 'test_share' leave nothing to train on")
        if self.split_file and self.split_column:
            problems.append("'split_file' and 'split_column' both say the split; give one")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def is_restricted(self) -> bool:
        """Whether texts may not be shown."""
        return self.corpus == "mimic_iv" if self.restricted is None else self.restricted
