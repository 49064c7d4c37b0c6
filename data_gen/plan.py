"""How many texts of which kind a data set holds."""

from __future__ import annotations

from typing import Self

from pydantic import Field, FilePath, field_validator, model_validator

from data_gen.variations import VARIATIONS
from icd10cm.codeset import CHAPTER_TITLES
from icd10cm.config import Settings, suggest_name


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
    chapter_weights: dict[int, float] = Field(
        default_factory=dict, description="chapter number to how often its codes come up; every code alike when empty"
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_conditions > self.max_conditions:
            raise ValueError(f"min_conditions {self.min_conditions} is above max_conditions {self.max_conditions}")
        return self

    @field_validator("chapter_weights")
    @classmethod
    def _check_weights(cls, weights: dict[int, float]) -> dict[int, float]:
        for chapter, weight in weights.items():
            if chapter not in CHAPTER_TITLES:
                raise ValueError(f"chapter {chapter} is none of 1 to {len(CHAPTER_TITLES)}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of chapter {chapter} should be 0 or more, not {weight}")
        if weights and not any(weights.values()):
            raise ValueError("all weights are 0")
        return weights

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

    def count_held_out(self) -> int:
        """Return how many texts per code and variation are kept from training."""
        return self.validation_variants + self.test_variants
