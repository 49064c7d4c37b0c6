"""A job from the first upload to the name of its model; each step is found done when it is done already."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.writers.budget import BudgetError
from data_gen.writers.client import shorten
from finetune.openai_api.job_files import JobFiles
from finetune.openai_api.job_record import DEAD, ENDED, JOB, JobRecord
from finetune.openai_api.provider import Provider, open_provider
from finetune.openai_api.settings import JobSettings
from finetune.openai_api.watching import watch_job
from icd10cm.entry import say
from icd10cm.errors import ConfigError, EngineError
from icd10cm.run_header import write_text

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob


def run_job(settings: JobSettings, base_model: str, files: JobFiles, record: JobRecord) -> None:
    """Upload, create, watch and collect, from where an earlier run stopped.

    Raises:
        BudgetError: the job could cost more than `max_cost_usd`, and is not created.
        ConfigError: no API key.
        EngineError: the provider is gone or refuses something, or the job failed or was cancelled.
    """
    with open_provider(settings, record) as provider:
        if record.job_id is None:
            _create_job(provider, settings, base_model, files, record)
        else:
            say(f"going on with job {record.job_id}")
        job = watch_job(provider, record, settings.poll_seconds)
        if job.status in DEAD:
            record.bury_job()
            reason = f": {shorten(job.error.message)}" if job.error and job.error.message else ""
            raise EngineError(
                f"{settings.base_url}: job {job.id} {'failed' if job.status == 'failed' else 'was cancelled'}{reason}; "
                "mend what it says, then the same command creates another"
            )
        _collect(provider, settings, job, record)


def cancel_job(settings: JobSettings, record: JobRecord) -> None:
    """Cancel the job of a record, and print what became of it.

    Raises:
        ConfigError: there is none.
        EngineError: the provider is gone or refuses.
    """
    with open_provider(settings, record) as provider:
        label = record.header.get("label")
        found = provider.get_job(record.job_id) if record.job_id else provider.find_job(label) if label else None
        if found is None:
            raise ConfigError(f"{settings.output_dir}: no job is under way; there is nothing to cancel")
        job = found if found.status in ENDED else provider.cancel_job(found.id)
        record.note_settled(JOB, job.id)
        record.update(job_status=job.status)
        if job.status in DEAD:
            record.bury_job()
    print(f"job {job.id}: {job.status}")


def compute_price(settings: JobSettings, tokens: int) -> float:
    """Return US dollars for so many trained tokens; 0 without a price."""
    return tokens * settings.price.training_per_million_usd / 1e6 if settings.price else 0.0


def _create_job(provider: Provider, settings: JobSettings, base_model: str, files: JobFiles, record: JobRecord) -> None:
    cost = compute_price(settings, files.train.tokens * settings.n_epochs)
    if settings.max_cost_usd is not None and cost > settings.max_cost_usd:
        raise BudgetError(
            f"the job would cost about ${cost:,.4f}, more than max_cost_usd {settings.max_cost_usd:g}; nothing was sent: "
            "take fewer n_epochs, scenarios or repeats, or raise max_cost_usd"
        )
    request = _build_request(settings, base_model)
    names = [file.name for file in files if file]
    label = hashlib.sha256(json.dumps([request, names], sort_keys=True).encode()).hexdigest()[:32]
    record.update(label=label)
    for key, file in (("training_file", files.train), ("validation_file", files.validation)):
        if file:
            say(f"{key.replace('_', ' ')}: {file.rows:,} rows, {len(file.content):,} bytes")
            request[key] = provider.upload(file, key)
    job = provider.create_job(label, request)
    say(f"job {job.id} fine-tunes {job.model}")


def _build_request(settings: JobSettings, base_model: str) -> dict[str, Any]:
    """Return the request of a job but for its files."""
    chosen = {
        "n_epochs": settings.n_epochs,
        "batch_size": settings.batch_size,
        "learning_rate_multiplier": settings.learning_rate_multiplier,
    }
    request: dict[str, Any] = {
        "model": base_model,
        "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}},
        "seed": settings.seed,
    }
    return request | ({"suffix": settings.suffix} if settings.suffix else {})


def _collect(provider: Provider, settings: JobSettings, job: FineTuningJob, record: JobRecord) -> None:
    """Write down the model, what it cost, its checkpoints and its metrics."""
    cost = round(compute_price(settings, job.trained_tokens or 0), 6)
    record.update(fine_tuned_model=job.fine_tuned_model, trained_tokens=job.trained_tokens, cost_usd=cost)
    for number, file_id in enumerate(job.result_files, 1):
        content = provider.read_file(file_id)
        if content is None:
            say(f"warning: the provider no longer has the metrics ({file_id})")
        else:
            name = "metrics.csv" if number == 1 else f"metrics_{number}.csv"
            write_text(Path(settings.output_dir) / name, _decode_metrics(content))
    record.update(checkpoints=provider.list_checkpoints(job.id), finished=True)
    paid = f", ${cost:,.4f}" if settings.price else ""
    say(f"fine-tuned model: {job.fine_tuned_model} ({job.trained_tokens or 0:,} tokens trained{paid})")
    say(
        f"ask it: python -m eval.predict --base-url {settings.base_url} --model-name {job.fine_tuned_model}"
        f"{' --instruct' if settings.instruct else ''} --data {settings.data}/test.parquet --output …"
    )


def _decode_metrics(content: bytes) -> str:
    """Return a result file as text: OpenAI's are base64 of the CSV."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        return content.decode("utf-8", "replace")
