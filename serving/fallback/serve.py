"""Serve by transformers where vLLM cannot run. `serving.serve` starts it; what is served stands in the environment.

python -m serving.serve --config configs/serving/transformers.yaml --dry-run
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, FilePath, NonNegativeFloat, PositiveInt

from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry
from serving.model_facts import read_served


class FallbackSettings(Settings):
    """What the process needs besides what it says of itself."""

    model: Path = Field(description="checkpoint folder")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16")
    max_model_len: PositiveInt = Field(2048, description="longest prompt and answer together, in tokens")
    max_num_seqs: PositiveInt = Field(32, description="answers written at a time")
    temperature: NonNegativeFloat = Field(0.0, description="sampling temperature where a request gives none")
    code_file: FilePath | None = Field(None, description="CMS code file of the release to keep to; the embedded one when empty")
    cpu_threads: PositiveInt = Field(1, description="threads for computing without a GPU")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Load the checkpoint and serve it until the process is told to stop."""
    settings = load_settings(FallbackSettings, argv, doc=__doc__ or "", prog="python -m serving.fallback.serve")
    served = read_served()

    import torch
    import uvicorn

    from serving.fallback.app import Desk, build_app
    from serving.fallback.writer import BatchWriter

    torch.set_num_threads(settings.cpu_threads)
    codes = CodeSet.load(settings.code_file) if served.constrained else None
    writer = BatchWriter(settings.model, codes, batch_size=settings.max_num_seqs, dtype=settings.dtype, progress=False)
    app = build_app(Desk(writer, served, settings.temperature, settings.max_num_seqs), served)
    server = uvicorn.Server(uvicorn.Config(app, settings.host, settings.port, log_level="info"))
    app.state.server = server  # the gate ends it gently
    server.run()
    return 0


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
