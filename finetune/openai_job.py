"""The same stages through OpenAI's fine-tuning API: validate, price, upload, create, watch; never twice.

python -m finetune.openai_job --config configs/openai/stage1.yaml --dry-run
python -m finetune.openai_job --config configs/openai/stage1.yaml
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from finetune.openai_api.base_model import find_base_model
from finetune.openai_api.job_files import JobFiles, build_files, build_messages, check_clinical_sources
from finetune.openai_api.job_record import JobRecord, lock_folder, read_record
from finetune.openai_api.running import cancel_job, compute_price, run_job
from finetune.openai_api.settings import JobSettings
from finetune.openai_api.tokens import load_counter
from finetune.previous_run import settle_previous_run
from finetune.stage_data import StageData, count_scenarios, load_stage_data
from icd10cm.config import load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.run_header import build_header, read_header, write_json


def main(argv: Sequence[str] | None = None) -> None:
    """Train one stage at a provider, say what that would cost, or cancel it."""
    settings = load_settings(JobSettings, argv, doc=__doc__ or "", prog="python -m finetune.openai_job")
    if settings.cancel:
        cancel_job(settings, read_record(settings.output_dir))
        return
    data = load_stage_data(settings.data, settings.scenarios, settings.repeats, settings.validation_size)
    check_clinical_sources(data, settings)
    base_model = find_base_model(settings, data.release)
    counter = load_counter(base_model)
    files = build_files(data, settings, counter)
    if settings.dry_run:
        describe_job(settings, base_model, data, files, counter.source)
        return
    header = build_header("finetune.openai_job", settings.list_shaping(base_model), data.files, data.release, finished=False)
    _check_deletion(settings)
    previous = settle_previous_run(settings.output_dir, settings.on_existing, header["settings"], header["inputs"])
    if previous.finished:
        model = read_record(settings.output_dir).header["fine_tuned_model"]
        say(f"{settings.output_dir}: already fine-tuned with these settings: {model}; another seed asks for another model")
        return
    with lock_folder(settings.output_dir):
        run_job(settings, base_model, files, _open_record(settings, header))


def describe_job(settings: JobSettings, base_model: str, data: StageData, files: JobFiles, source: str) -> None:
    """Print what a run would send: rows, tokens, epochs, price, and one example as it would stand in the file."""
    train, validation = files
    trained = train.tokens * settings.n_epochs
    price = "none given (`price`); the server is this machine"
    if settings.price:
        limit = "" if settings.max_cost_usd is None else f"; limit (`max_cost_usd`) ${settings.max_cost_usd:,.2f}"
        price = (
            f"about ${compute_price(settings, trained):,.4f} by the price of {settings.price.as_of}: "
            f"${settings.price.training_per_million_usd:g} per million tokens{limit}"
        )
    scenarios = ", ".join(f"{count:,} {scenario}" for scenario, count in count_scenarios(data.train).items())
    rows = {
        "stage": settings.stage,
        "model": f"{base_model} at {settings.base_url}",
        "release": f"ICD-10-CM {data.release or 'that the data does not name'}",
        "data": f"{train.rows:,} training rows ({scenarios}), {validation.rows if validation else 0:,} for validation",
        "files": ", ".join(f"{file.name} ({len(file.content):,} bytes)" for file in files if file),
        "tokens": f"{train.tokens:,} per epoch, longest {train.longest:,} of max_length {settings.max_length:,} ({source})",
        "epochs": f"{settings.n_epochs}, so {trained:,} tokens trained",
        "price": price,
        "output": settings.output_dir,
    }
    for name, value in rows.items():
        print(f"{name:<7} {value}")
    if data.restricted:
        print("\nNo example is shown: the texts are restricted.")
        return
    print("\nOne training example:")
    print(json.dumps({"messages": build_messages(data.train[0], settings.instruct)}, ensure_ascii=False, indent=2))


def _check_deletion(settings: JobSettings) -> None:
    """Raise `ConfigError` where the folder to be deleted knows of a job that is still under way and paid for."""
    run = settings.output_dir / "run.json"
    if settings.on_existing == "delete" and run.is_file():
        header = read_header(run)
        if not header.get("finished") and (header.get("job_id") or header.get("sent")):
            raise ConfigError(f"{settings.output_dir}: job {header.get('job_id') or ''} may be under way; --cancel it first")


def _open_record(settings: JobSettings, header: dict) -> JobRecord:
    run = settings.output_dir / "run.json"
    if not run.is_file():
        write_json(run, header)
    return read_record(settings.output_dir)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
