"""Serve the coding API and its page in front of a model server.

python -m serving.api.start --config configs/serving/api.yaml    # starts a model server for the default model
python -m serving.api.start --config configs/serving/api.yaml --model outputs/demo/stage2/model    # for this one
python -m serving.api.start --config configs/serving/api.yaml --base-url http://127.0.0.1:8000/v1    # one runs there
python -m serving.api.start --config configs/serving/api.yaml --dry-run    # what would be served, and stop
"""

from __future__ import annotations

import importlib.util
import shlex
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from icd10cm.config import check_settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, EngineError
from serving.api.settings import ApiSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from serving.command import ServeSettings


class EntrySettings(ApiSettings):
    """The API's settings and what only the command line has."""

    dry_run: bool = Field(False, description="say what would be served and print the routes, start nothing")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Check everything, serve until told to stop, let requests under way finish."""
    given = load_settings(EntrySettings, argv, doc=__doc__ or "", prog="python -m serving.api.start")
    settings, server = _plan_server(given)
    _check_installed()
    from serving.api.app import build_app
    from serving.process import check_port

    app = build_app(settings)
    if given.dry_run:
        print(_describe(settings, server))
        for path, operations in app.openapi()["paths"].items():
            print(f"  {' '.join(operations).upper():<6} {path}")
        return 0
    check_port(settings.host, settings.port)
    return _serve(app, settings, server)


def _plan_server(given: EntrySettings) -> tuple[ApiSettings, ServeSettings | None]:
    """Return the settings with the address of the model server, and the settings of one that is to be started."""
    values = {name: getattr(given, name) for name in ApiSettings.model_fields}
    if given.model is None and "base_url" in given.model_fields_set:
        return ApiSettings.model_validate(values), None
    from serving.api.supervisor import build_server_settings
    from serving.command import ServeSettings
    from serving.process import check_settings as check_server
    from serving.process import find_free_port

    port = given.server.get("port") or find_free_port("127.0.0.1", 8000)
    server = check_settings(ServeSettings, build_server_settings(given, port), "server")
    if not given.dry_run:
        check_server(server)
    return ApiSettings.model_construct(**{**values, "base_url": f"http://127.0.0.1:{port}/v1"}), server


def _serve(app: FastAPI, settings: ApiSettings, server: ServeSettings | None) -> int:
    import uvicorn

    from serving.api.logs import set_up_logs
    from serving.api.supervisor import Supervisor, build_command

    class Runner(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            say(_describe_ready(settings))

    set_up_logs(settings.access_log)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # its own errors quote what was sent; ours say where they happened
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # longer than proxies keep theirs, so that none sends into a connection that is being closed
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
        lifespan="on",
    )
    # uvicorn repeats the signal that stopped it, which would end us with another status than 0; not SIG_IGN, which the model
    # server would inherit
    before = signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    supervisor = Supervisor(build_command(server)) if server else None
    runner = Runner(config)
    if supervisor:
        supervisor.start()
    try:
        runner.run()
    except KeyboardInterrupt:
        pass
    except SystemExit:
        raise app.state.service.start_error or EngineError("the API could not start") from None
    finally:
        if supervisor:
            supervisor.stop()
        signal.signal(signal.SIGTERM, before)
    return 0


def _describe_ready(settings: ApiSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
    return f"ready: http://{host}:{settings.port} (page at /, routes at /openapi.json), model server {settings.base_url}"


def _describe(settings: ApiSettings, server: ServeSettings | None) -> str:
    from serving.api.security import load_keys
    from serving.api.supervisor import build_command

    keys = load_keys(settings)
    wanted = f"{len(keys)} API key{'s' if len(keys) > 1 else ''}" if keys else "no API key, for this machine only"
    lines = [
        f"listens on {settings.host} port {settings.port}, {wanted}",
        f"model server: {settings.base_url}{', started and kept running by:' if server else ''}",
        *([f"  {shlex.join(build_command(server))}"] if server else []),
        f"audit log: {settings.audit_file}",
        "routes:",
    ]
    return "\n".join(lines)


def _check_installed() -> None:
    """Raise `ConfigError` where what the API needs is not installed."""
    wanted = {"fastapi": "fastapi", "uvicorn": "uvicorn", "limits": "limits", "prometheus_client": "prometheus-client"}
    if missing := [name for module, name in wanted.items() if importlib.util.find_spec(module) is None]:
        raise ConfigError(f"{', '.join(missing)} not installed; the API needs: pip install -e '.[api]'")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
