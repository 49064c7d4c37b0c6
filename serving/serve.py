"""Serve a checkpoint behind an OpenAI-compatible API whose answers hold existing codes only: by vLLM, else by transformers.

python -m serving.serve                                                  # the default model
python -m serving.serve --config configs/serving/vllm.yaml
python -m serving.serve --config configs/serving/vllm.yaml --model outputs/demo/stage2/model --port 8001
python -m serving.serve --config configs/serving/vllm.yaml --dry-run     # print the whole command and stop
"""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Sequence
from types import FrameType

from pydantic import Field

from icd10cm.config import load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, EngineError
from serving.command import Launch, ServeSettings, is_loopback
from serving.default_model import describe_model
from serving.hardware import KEY_VARIABLE
from serving.process import check_port, check_settings, plan_launch, start_server


class EntrySettings(ServeSettings):
    """The server's settings and what only the command line has."""

    dry_run: bool = Field(False, description="print the environment and the command, start nothing")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Check the settings, start the server and wait until it is stopped."""
    settings = load_settings(EntrySettings, argv, doc=__doc__ or "", prog="python -m serving.serve")
    checkpoint, codes = check_settings(settings)
    if not settings.dry_run:
        check_port(settings.host, settings.port)
    say(f"model: {describe_model(checkpoint)}")
    for warning in checkpoint.warnings:
        say(f"warning: {warning}")
    if (
        not is_loopback(settings.host)
        and not os.environ.get(KEY_VARIABLE)
        and not {"api-key", "api_key"} & {*settings.extra_args}
    ):
        raise ConfigError(
            f"'host' {settings.host} can be reached from other machines, so a key is needed: set {KEY_VARIABLE} (openssl rand "
            "-hex 24), which clients send as OPENAI_API_KEY, or listen on 127.0.0.1"
        )
    launch, choice = plan_launch(settings, checkpoint)
    if choice.notice:
        say(f"notice: {choice.notice}")
    if settings.dry_run:
        print(spell_launch(launch))
        return 0
    limit = f"only the {len(codes):,} codes of release {codes.release}" if settings.constrained else "any text"
    signal.signal(signal.SIGTERM, _stop)
    with start_server(settings) as server:
        example = json.dumps({"model": server.model, "prompt": "T2DM w/ foot ulcer"})
        try:
            say(
                f"ready: {server.base_url} model {server.model}, answers hold {limit}, started in {server.seconds:.0f} s; try: "
                f"curl {server.base_url}/completions -H 'Content-Type: application/json' -d '{example}'"
            )
            status = server.process.wait()
        except KeyboardInterrupt:
            say(f"stopping: requests under way have {settings.shutdown_timeout} s to finish; once more ends it at once")
            return 0
    raise EngineError(f"the server ended by itself with status {status}; see {server.log_file}")


def spell_launch(launch: Launch) -> str:
    """Return the environment and the command as one could paste them into a shell."""
    environment = [f"{name}={shlex.quote(value)}" for name, value in sorted(launch.environment.items())]
    first, *rest = [shlex.quote(word) for word in launch.command]
    lines = [f"{first} {' '.join(rest[:2])}"]
    for word in rest[2:]:
        if word.startswith("--"):
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return " \\\n".join([*environment, *lines])


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
