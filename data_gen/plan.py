"""How many texts of which kind a data set holds."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, FilePath, field_validator, model_validator

from data_gen.variations import VARIATIONS
from data_gen.words import Severity
from icd10cm.codeset import CHAPTER_TITLES
from icd10cm.config import Settings, suggest_name


class Prior(Settings):
    """How often each code comes up; every code alike when nothing is given.

    A code weighs what the file counts of it, or 1, times its code weight; then the codes of a chapter are scaled to the
    weight of the chapter.
    """

    chapter_weights: dict[int, float] = Field(
        default_factory=dict, description="chapter number to how often its codes come up, those left out never"
    )
    code_weights: dict[str, float] = Field(
        default_factory=dict,
        description="code or beginning of codes, such as E11 or I48.9, to how many times as often each of them comes up as a "
        "code left out; the longest beginning counts",
    )
    diagnoses_file: FilePath | None = Field(
        None,
        description="diagnoses_icd.csv or .csv.gz of MIMIC-IV, or another with hadm_id, icd_code and icd_version: how often "
        "codes come up, and which come up together",
    )
    smoothing: float = Field(
        0.5,
        ge=0,
        lt=float("inf"),
        description="count added to each three-character category, spread over its codes, so that codes which diagnoses_file "
        "lacks come up too",
    )

    @field_validator("chapter_weights")
    @classmethod
    def _check_chapters(cls, weights: dict[int, float]) -> dict[int, float]:
        for chapter, weight in weights.items():
            if chapter not in CHAPTER_TITLES:
                raise ValueError(f"chapter {chapter} is none of 1 to {len(CHAPTER_TITLES)}")
            _check_weight(f"chapter {chapter}", weight)
        if weights and not any(weights.values()):
            raise ValueError("all weights are 0")
        return weights

    @field_validator("code_weights")
    @classmethod
    def _check_codes(cls, weights: dict[str, float]) -> dict[str, float]:
        for code, weight in weights.items():
            _check_weight(code, weight)
        return weights

    @model_validator(mode="after")
    def _check_smoothing(self) -> Self:
        if "smoothing" in self.model_fields_set and self.diagnoses_file is None:
            raise ValueError("smoothing would have no effect: it is for the counts of a diagnoses_file")
        return self

    @property
    def is_given(self) -> bool:
        """Whether it prefers any code to another."""
        return bool(self.chapter_weights or self.code_weights or self.diagnoses_file)


class VariantPrior(Prior):
    """How many variants each code gets in train: as many as its weight is above or below the mean, within two limits."""

    least_share: float = Field(0.34, ge=0, le=1, description="a code gets at least this share of train_variants")
    most_share: float = Field(4.0, ge=1, le=100, description="a code gets at most that many times train_variants")


def _check_weight(name: str, weight: float) -> None:
    if not 0 <= weight < float("inf"):
        raise ValueError(f"the weight of {name} should be 0 or more, not {weight}")


class JoinedPlan(Settings):
    """Texts that name several conditions of one patient."""

    train: int = Field(0, ge=0, description="rows in train")
    validation: int = Field(0, ge=0, description="rows in validation")
    test: int = Field(0, ge=0, description="rows in test")
    min_conditions: int = Field(2, ge=1, le=12, description="fewest conditions in a text")
    max_conditions: int = Field(4, ge=1, le=12, description="most conditions in a text")
    plausible: bool = Field(
        True, description="only conditions that one patient may have: sex, age, Excludes1, sides and encounters go together"
    )
    prior: Prior = Field(
        default_factory=lambda: Prior.model_validate({}),
        description="how often each code comes up; every code alike when empty",
    )
    comorbidity: float = Field(
        0.5, ge=0, le=1, description="chance that a condition is one that usually comes with another; for plausible texts"
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_conditions > self.max_conditions:
            raise ValueError(f"min_conditions {self.min_conditions} is above max_conditions {self.max_conditions}")
        return self

    def count_rows(self, split: str) -> int:
        """Return the number of rows of a split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


class MultiplePlan(JoinedPlan):
    """Lists and sentences of several conditions."""

    min_conditions: int = Field(2, ge=2, le=12, description="fewest conditions in a text")
    max_conditions: int = Field(4, ge=2, le=12, description="most conditions in a text")


class NotePlan(JoinedPlan):
    """Discharge summaries."""

    min_conditions: int = Field(2, ge=1, le=12, description="fewest conditions in a note")
    max_conditions: int = Field(8, ge=1, le=12, description="most conditions in a note")


class Plan(Settings):
    """The numbers of a data set and its seed."""

    seed: int = Field(13, description="seed of every random choice")
    train_variants: dict[str, int] = Field(
        default_factory=lambda: dict.fromkeys(VARIATIONS, 3),
        description="variants per code in train, for each variation, such as {reordered: 12, typo: 20}",
    )
    prior: VariantPrior = Field(
        default_factory=lambda: VariantPrior.model_validate({}),
        description="which codes get more variants in train than others; all alike when empty",
    )
    validation_variants: int = Field(1, ge=0, description="variants per code held out for validation, for each variation")
    test_variants: int = Field(1, ge=0, description="variants per code held out for test, for each variation")
    held_out_codes: float = Field(
        0.02, ge=0, lt=1, description="share of codes whose variants are all held out; train has their titles only"
    )
    multiple: MultiplePlan = Field(
        default_factory=lambda: MultiplePlan.model_validate({}), description="texts that name several conditions"
    )
    note: NotePlan = Field(default_factory=lambda: NotePlan.model_validate({}), description="synthetic discharge summaries")
    tabular_file: FilePath | None = Field(None, description="tabular list XML of CMS; the embedded one when null")
    index_files: list[FilePath] = Field(
        default_factory=list, description="index XMLs of CMS whose entries paraphrase codes: Alphabetic, External Cause …"
    )
    abbreviation_files: list[FilePath] = Field(
        default_factory=list,
        description="your own short forms, beside those of the project: short, long and perhaps frequency, in columns",
    )
    abbreviation_min_frequency: float = Field(
        0.5, gt=0, le=1, description="least share of the uses of your short form that mean the long one; 0.9 for one letter"
    )
    misspelling_files: list[FilePath] = Field(
        default_factory=list, description="misspellings people really made, for half of the slips: misspelling,correction"
    )
    typo_severity: Severity = Field("usual", description="slips in a misspelt text: one to three, one, or twice as many")
    workers: int = Field(0, ge=0, description="processes that write, one per core when 0; the data do not depend on it")

    @field_validator("train_variants")
    @classmethod
    def _check_variations(cls, numbers: dict[str, int]) -> dict[str, int]:
        for name, number in numbers.items():
            if name not in VARIATIONS:
                raise ValueError(f"unknown variation {name!r}{suggest_name(name, VARIATIONS)}")
            if number < 0:
                raise ValueError(f"{name} should be 0 or more, not {number}")
        return numbers

    def count_variants(self, variation: str) -> int:
        """Return how many texts per code a variation should give over all splits; 0 when train has none of it."""
        train = self.train_variants.get(variation, 0)
        return train + self.count_held_out() if train else 0

    def list_files(self) -> list[Path]:
        """Return every file that the data set is made from, but for the code file."""
        named = [self.tabular_file] if self.tabular_file else []
        return [*named, *self.index_files, *self.abbreviation_files, *self.misspelling_files, *self.list_clinical_files()]

    def list_clinical_files(self) -> list[Path]:
        """Return the files of real patients that the data set is drawn after."""
        priors = (self.prior, self.multiple.prior, self.note.prior)
        return list(dict.fromkeys(prior.diagnoses_file for prior in priors if prior.diagnoses_file))

    def count_held_out(self) -> int:
        """Return how many texts per code and variation are kept from training."""
        return self.validation_variants + self.test_variants
