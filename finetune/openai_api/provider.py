"""The provider's side: files and jobs, each found again before it is sent a second time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from data_gen.writers.client import API_KEY_VARIABLE, build_options, is_passing, shorten
from data_gen.writers.pace import choose_wait, read_retry_after
from data_gen.writers.settings import WriterSettings
from finetune.openai_api.job_files import JobFile
from finetune.openai_api.job_record import DEAD, JOB, JobRecord
from finetune.openai_api.settings import JobSettings
from icd10cm.errors import EngineError

if TYPE_CHECKING:
    import openai
    from openai.types import FileObject
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

LABEL = "icdtune_job"
"""Key of a job's metadata by which it is found again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0

T = TypeVar("T", "FileObject", "FineTuningJob")


class Provider:
    """Files and jobs of one account.

    What reads is sent again by the client itself. What uploads or creates is sent once; when the answer is lost, by a kill, a
    cut connection or an error of the server, it is looked for as long as `settle_seconds` say before it is sent again.

    Args:
        client: of the provider.
        settings: how patient to be.
        record: where it is written down what was sent.
    """

    def __init__(self, client: openai.OpenAI, settings: JobSettings, record: JobRecord):
        self._client, self._settings, self._record = client, settings, record
        self._once = client.with_options(max_retries=0)

    def upload(self, file: JobFile, key: str) -> str:
        """Return the id of a file there, uploaded unless it is there already; written down under `key`."""

        def find() -> FileObject | None:
            listed = self._client.files.list(purpose="fine-tune")
            same = (row for row in listed if (row.filename, row.bytes) == (file.name, len(file.content)))
            return next((row for row in same if row.status != "error"), None)

        def send() -> FileObject:
            return self._once.files.create(file=(file.name, file.content), purpose="fine-tune")

        return self._do_once(key, find, send).id

    def create_job(self, label: str, request: dict[str, Any]) -> FineTuningJob:
        """Return the job of a label, created unless it is there already; its id is written down."""

        def send() -> FineTuningJob:
            return self._once.fine_tuning.jobs.create(**request, metadata={LABEL: label})

        return self._do_once(JOB, lambda: self._find_job(label), send)

    def find_job(self, label: str) -> FineTuningJob | None:
        """Return the job of a label, looked for as long as one may be on its way; None where there is none."""
        return self._look(JOB, lambda: self._find_job(label))

    def get_job(self, job_id: str) -> FineTuningJob:
        """Return a job as it stands now."""
        return _check_reply(self._client.fine_tuning.jobs.retrieve(job_id))

    def cancel_job(self, job_id: str) -> FineTuningJob:
        """Cancel a job."""
        return _check_reply(self._client.fine_tuning.jobs.cancel(job_id))

    def list_events(self, job_id: str, last: str | None) -> list[FineTuningJobEvent]:
        """Return the events after `last`, oldest first."""
        events = []
        for event in self._client.fine_tuning.jobs.list_events(job_id, limit=100):
            if event.id == last:
                break
            events.append(event)
        return events[::-1]

    def list_checkpoints(self, job_id: str) -> list[dict[str, Any]]:
        """Return the models that the provider kept of each epoch, last first; none where it keeps none."""
        import openai

        try:
            listed = self._client.fine_tuning.jobs.checkpoints.list(job_id, limit=10)
            return [
                {
                    "model": row.fine_tuned_model_checkpoint,
                    "step": row.step_number,
                    "metrics": row.metrics.model_dump(exclude_none=True),
                }
                for row in listed
            ]
        except openai.NotFoundError:
            return []

    def read_file(self, file_id: str) -> bytes | None:
        """Return the content of a file, None where the provider no longer has it."""
        import openai

        try:
            return self._client.files.content(file_id).content
        except openai.NotFoundError:
            return None

    def _find_job(self, label: str) -> FineTuningJob | None:
        """Return the job of a label. One that had failed before this run is none; one that this run may have created is."""
        listed = self._client.fine_tuning.jobs.list(metadata={LABEL: label}, limit=100)
        # a server that does not know the filter lists other jobs too
        same = (job for job in listed if (job.metadata or {}).get(LABEL) == label)
        fresh = (job for job in same if job.id not in self._record.header.get("dead_jobs", []))
        return next((job for job in fresh if job.status not in DEAD or self._record.find_sent(JOB)), None)

    def _do_once(self, step: str, find: Callable[[], T | None], send: Callable[[], T]) -> T:
        import openai

        for attempt in range(self._settings.retries + 1):
            found = self._look(step, find)
            if found is not None:
                self._record.note_settled(step, found.id)
                return found
            self._record.note_sent(step)
            told = None
            try:
                reply = _check_reply(send())
            except openai.APIStatusError as error:
                if error.status_code < 500 and error.status_code != 408:
                    self._record.note_settled(step)
                if not is_passing(error) or attempt == self._settings.retries:
                    raise
                told = read_retry_after(error.response.headers)
            except openai.APIConnectionError:
                if attempt == self._settings.retries:
                    raise
            else:
                self._record.note_settled(step, reply.id)
                return reply
            time.sleep(choose_wait(attempt, told))
        raise AssertionError("the last attempt returns or raises")

    def _look(self, step: str, find: Callable[[], T | None]) -> T | None:
        """Look for what may have been sent, until the provider would have listed it."""
        sent, patience = self._record.find_sent(step), self._settings.settle_seconds
        # a clock that was put back must not make this wait for hours
        pause = _FIRST_PAUSE
        end = time.monotonic() + min(patience, max(0.0, sent + patience - time.time())) if sent else 0.0
        while True:
            # read before looking: what is not there afterwards never will be
            rest = end - time.monotonic()
            found = find()
            if found is not None or rest <= 0:
                return found
            time.sleep(min(rest, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)


@contextmanager
def open_provider(settings: JobSettings, record: JobRecord) -> Iterator[Provider]:
    """Connect to the provider.

    Raises:
        ConfigError: no API key, and the address is not this machine.
        EngineError: it is gone, or refuses the key, the files or the job.
    """
    import openai

    # of the writer's settings only the address and the time limit are read
    options = build_options(cast(WriterSettings, settings), openai.DefaultHttpxClient, settings.retries)
    try:
        with openai.OpenAI(**options) as client:
            yield Provider(client, settings, record)
    except openai.APIStatusError as error:
        status = error.status_code
        raise EngineError(f"{settings.base_url}: HTTP {status}: {shorten(error.message)}; {_advise(error)}") from None
    except openai.APIError as error:
        reason = shorten(str(error.__cause__ or error))
        raise EngineError(f"{settings.base_url}: {reason}; run the same command again to go on") from None


def _advise(error: openai.APIStatusError) -> str:
    match error.status_code:
        case 401 | 403:
            return f"check {API_KEY_VARIABLE}, and whether its project may fine-tune"
        case 404:
            return "check `base_url` and `model`"
        case 429 if not is_passing(error):
            return "the account has no credit left; top it up and run the same command again"
        case _ if is_passing(error):
            return "run the same command again to go on"
        case _:
            return "change the configuration and run it again"


def _check_reply(reply: T) -> T:
    """Return what has an id. The client hands on a page of HTML as text."""
    if not getattr(reply, "id", None):
        raise EngineError(f"no answer of a fine-tuning API: {shorten(str(reply))}; check `base_url`")
    return reply
