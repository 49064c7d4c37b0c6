"""Watch a job until it ends: a bar with steps and loss, a line for each of its messages."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from finetune.openai_api.job_record import ENDED, JobRecord
from finetune.openai_api.provider import Provider
from icd10cm.entry import say

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent


def watch_job(provider: Provider, record: JobRecord, poll_seconds: float) -> FineTuningJob:
    """Return the job when it has ended, well or not. Ctrl-C leaves it under way at the provider, and says so."""
    job_id = str(record.job_id)
    with tqdm(desc=job_id, unit="step", file=sys.stderr) as bar:
        try:
            while True:
                # the job before its events, so that those of its end are among them
                job = provider.get_job(job_id)
                events = provider.list_events(job_id, record.header.get("last_event"))
                if events or job.status != record.header.get("job_status"):
                    _show(bar, job, events, job.status != record.header.get("job_status"))
                    last = events[-1].id if events else record.header.get("last_event")
                    record.update(job_status=job.status, last_event=last)
                if job.status in ENDED:
                    return job
                time.sleep(poll_seconds)
        except KeyboardInterrupt:
            say(f"\njob {job_id} goes on at the provider, and so do its costs; the same command with --cancel stops it")
            raise


def _show(bar: tqdm[Any], job: FineTuningJob, events: list[FineTuningJobEvent], changed: bool) -> None:
    for event in events:
        data = event.data if isinstance(event.data, dict) else {}
        step, total, loss = data.get("step"), data.get("total_steps"), data.get("train_loss")
        if isinstance(step, int):
            bar.total = total if isinstance(total, int) else bar.total
            bar.n = step
            if isinstance(loss, int | float):
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        else:
            bar.write(event.message if event.level == "info" else f"{event.level}: {event.message}", file=sys.stderr)
    if changed:
        bar.write(f"status: {job.status}", file=sys.stderr)
    bar.refresh()
