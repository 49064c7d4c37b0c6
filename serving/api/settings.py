"""Settings of the coding API: one YAML file, `configs/serving/api.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, FilePath, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from icd10cm.address import check_address, is_this_machine
from icd10cm.config import Settings
from serving.coding.models import LongText


class ApiSettings(Settings):
    """Whom to ask, where to listen, what to refuse and what to record."""

    base_url: str = Field(
        "http://127.0.0.1:8000/v1", description="model server that runs already; its key comes from OPENAI_API_KEY"
    )
    model: Path | None = Field(
        None,
        description="checkpoint folder: a model server for it is started and kept up; without base_url the default model's",
    )
    server: dict[str, Any] = Field(
        default_factory=dict, description="settings of that server as serving.serve has them, such as {kv_cache_gib: 1}"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; any but this machine's own needs API keys")
    port: int = Field(8080, ge=1, le=65535, description="port to listen on")
    allowed_hosts: list[str] = Field([], description="names that requests may be addressed to, where a proxy stands in front")
    code_file: FilePath | None = Field(None, description="CMS code file of the release; the embedded one when empty")
    tabular_file: FilePath | None = Field(None, description="CMS tabular XML of the release; the embedded one when empty")
    threshold: float | None = Field(None, ge=0, le=1, description="least confidence of a code; the model's own when empty")
    long_text: LongText | None = Field(
        None,
        description="texts longer than the model reads: whole, truncate, sections, chunks; or any list: conditions. The "
        "model's own way when empty, usually chunks",
    )
    max_body_bytes: PositiveInt = Field(4 * 2**20, description="largest request")
    max_batch: PositiveInt = Field(100, description="most texts of one batch")
    requests_per_minute: PositiveInt = Field(600, description="texts and other requests a minute for each key")
    max_in_flight: PositiveInt = Field(128, description="most requests under way; more are told to come back")
    max_upstream: PositiveInt = Field(64, description="most requests at the model server at a time, for all texts together")
    request_timeout: PositiveFloat = Field(120.0, description="seconds that a request may take")
    shutdown_timeout: PositiveFloat = Field(30.0, description="seconds that requests under way have when the API is stopped")
    openai_routes: bool = Field(True, description="pass /v1/models, /v1/completions and /v1/chat/completions on to the model")
    access_log: bool = Field(True, description="one line for each request, without texts and queries")
    audit_file: Path = Field(Path("outputs/serving/audit/audit.jsonl"), description="append-only log of what was decided")
    audit_max_bytes: NonNegativeInt = Field(
        64 * 2**20, description="size after which the log goes on in another file, 0 for never"
    )
    audit_daily: bool = Field(False, description="whether the log goes on in another file each day (UTC)")

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, url: str) -> str:
        return check_address(url)

    @field_validator("server")
    @classmethod
    def _check_server(cls, server: dict[str, Any]) -> dict[str, Any]:
        from serving.command import ServeSettings

        taken = {"model": "model", "host": "model", "code_file": "code_file"}
        if clashes := [f"{key!r} is set by {taken[key]}" for key in server if key in taken]:
            raise ValueError("; ".join(clashes))
        if unknown := sorted(set(server) - set(ServeSettings.model_fields)):
            raise ValueError(f"serving.serve has no setting {', '.join(map(repr, unknown))}")
        return server

    @model_validator(mode="after")
    def _check_model(self) -> ApiSettings:
        if self.model is not None and "base_url" in self.model_fields_set:
            raise ValueError("give model (a server is started for it) or base_url (of a server that runs), not both")
        if self.server and "base_url" in self.model_fields_set:
            raise ValueError("'server' is for the server that 'model' starts; the one at base_url has settings of its own")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the API."""
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return is_this_machine(f"http://{host}")
