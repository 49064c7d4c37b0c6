"""What a job starts from: a model of the provider, or the one that an earlier stage left there."""

from __future__ import annotations

from pathlib import Path

from finetune.openai_api.settings import JobSettings
from finetune.starting_point import check_release
from icd10cm.errors import ConfigError
from icd10cm.run_header import read_header


def find_base_model(settings: JobSettings, release: str | None) -> str:
    """Return the name of the model to fine-tune; a folder's is in its `run.json`.

    Raises:
        CheckpointError: the earlier stage was trained on another release.
        ConfigError: the folder is missing, its stage is not finished, or it was trained by another provider.
    """
    folder = Path(settings.model)
    if not folder.is_dir():
        if settings.model.startswith((".", "/", "~", "outputs/")):
            raise ConfigError(f"'model': folder {settings.model!r} does not exist; run the stage that writes it first")
        return settings.model
    check_release(settings.model, settings.stage, settings.data, release)
    header = read_header(folder / "run.json")
    model = header.get("fine_tuned_model")
    if not model:
        raise ConfigError(f"{folder}: holds no fine-tuned model of an API; run the stage that writes it to its end first")
    address = header["settings"]["base_url"]
    if address != settings.base_url:
        raise ConfigError(f"{folder}: was trained at {address}, so {settings.base_url} does not know its model")
    return str(model)
