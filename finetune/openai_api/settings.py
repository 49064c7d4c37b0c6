"""What to fine-tune through OpenAI's API, how, and for how much."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    DirectoryPath,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from data_gen.examples import SCENARIOS
from data_gen.folders import FolderPath
from data_gen.leaving import check_leaving
from finetune.stage_arguments import STAGES
from icd10cm.address import check_address, is_this_machine
from icd10cm.config import Settings, suggest_name

_SHAPES_MODEL = frozenset(
    {
        "base_url",
        "batch_size",
        "data",
        "instruct",
        "learning_rate_multiplier",
        "model",
        "n_epochs",
        "repeats",
        "scenarios",
        "seed",
        "stage",
        "suffix",
        "validation_size",
    }
)


class TrainingPrice(Settings):
    """What the provider charges for training, as read from its price list on a day."""

    as_of: date = Field(description="day on which the price was read, such as 2026-11-21")
    training_per_million_usd: float = Field(ge=0, lt=float("inf"), description="US dollars per million trained tokens")


class JobSettings(Settings):
    """A stage that a provider trains. The key comes from the environment variable `OPENAI_API_KEY` only."""

    data: DirectoryPath = Field(description="folder written by data_gen.generate")
    output_dir: FolderPath = Field(description="folder of run.json, which knows the job, and of its metrics")
    base_url: Annotated[str, AfterValidator(check_address)] = Field(description="such as https://api.openai.com/v1")
    model: str = Field(min_length=1, description="model to start from: its name there, or the output_dir of an earlier stage")
    stage: str = Field("initial", description=f"what the stage teaches: {', '.join(STAGES)}")
    scenarios: list[str] | None = Field(None, description="scenarios to train and validate on; every one in the data when null")
    repeats: dict[str, PositiveInt] = Field(
        default_factory=dict, description='times each scenario is seen per epoch, such as {"base": 3}; once when not named'
    )
    validation_size: NonNegativeInt = Field(200, description="validation examples, at most")
    instruct: bool = Field(
        True,
        description="send the instruction as a system message with each example: ask the model with `eval.predict --instruct` "
        "then. Without it a row has about half the tokens",
    )
    n_epochs: PositiveInt = Field(3, description="times that each example is seen; a number, since the price depends on it")
    batch_size: Literal["auto"] | PositiveInt = Field("auto", description="examples per step; auto leaves it to the provider")
    learning_rate_multiplier: Literal["auto"] | PositiveFloat = Field(
        "auto", description="of the provider's learning rate; auto leaves it to the provider"
    )
    seed: NonNegativeInt = Field(7, description="of the provider's training; another one asks for another job")
    suffix: str | None = Field(None, min_length=1, max_length=64, description="becomes part of the fine-tuned model's name")
    max_length: PositiveInt = Field(65536, description="most tokens of an example; what is longer the provider would cut")
    price: TrainingPrice | None = Field(None, description="needed for an address that is not this machine")
    max_cost_usd: PositiveFloat | None = Field(None, description="create no job whose estimated price is above that")
    timeout: PositiveFloat = Field(600.0, description="seconds to wait for an answer")
    retries: NonNegativeInt = Field(6, description="how often a request that failed in passing is sent again")
    poll_seconds: PositiveFloat = Field(10.0, description="seconds between two looks at the job")
    settle_seconds: NonNegativeFloat = Field(
        30.0,
        description="seconds to look for an upload or a job whose answer was lost, before it is sent again",
    )
    allow_clinical_text_to_leave: bool = Field(
        False,
        description="true: notes of patients, and what is derived from them, may be sent to another machine. Credentialed data "
        "(MIMIC) may not, unless its data use agreement and the provider's terms allow it",
    )
    on_existing: Literal["resume", "delete", "stop"] = Field("resume", description="when output_dir holds a run already")
    dry_run: bool = Field(False, description="say what would be sent and what it would cost, show one example, and stop")
    cancel: bool = Field(False, description="cancel the job of output_dir, and stop")

    @field_validator("stage")
    @classmethod
    def _check_stage(cls, stage: str) -> str:
        if stage not in STAGES:
            raise ValueError(f"no stage {stage!r}{suggest_name(stage, STAGES)}")
        return stage

    @field_validator("scenarios", "repeats")
    @classmethod
    def _check_scenarios(cls, named: Any) -> Any:
        for scenario in named or ():
            if scenario not in SCENARIOS:
                raise ValueError(f"no scenario {scenario!r}{suggest_name(scenario, SCENARIOS)}")
        return named

    @model_validator(mode="after")
    def _check_leaving(self) -> Self:
        if self.stage == "notes":
            self.check_clinical("stage notes")
        if self.price is None and not is_this_machine(self.base_url):
            raise ValueError(
                f"price is needed for {urlsplit(self.base_url).hostname}: {{as_of: 2026-11-21, training_per_million_usd: 3.0}} "
                "with the provider's own figures"
            )
        if self.price is None and self.max_cost_usd is not None:
            raise ValueError("max_cost_usd needs `price`; without it nothing can be counted")
        return self

    def check_clinical(self, what: str) -> None:
        """Raise `ValueError` where clinical text would go to another machine."""
        check_leaving(what, [self.base_url], self.allow_clinical_text_to_leave, "train with finetune.sft")

    def list_shaping(self, base_model: str) -> dict[str, Any]:
        """Return the settings that the model depends on: those a run is recognised by when it is resumed."""
        return self.model_dump(mode="json", include=set(_SHAPES_MODEL)) | {"base_model": base_model}
