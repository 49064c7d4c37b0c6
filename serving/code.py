"""Write the codes for a phrase, or for each line of standard input.

icdtune code "T2DM w/ foot ulcer"
icdtune code "T2DM w/ foot ulcer" --base-url http://127.0.0.1:8000/v1 --json
icdtune code --model outputs/demo/stage2/model < phrases.txt
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, FilePath, PositiveInt

from icd10cm.answers import Answer, drop_cut_code, read_answer
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, EngineError
from icd10cm.rules import Checker, Finding, Severity
from serving.checkpoint import check_checkpoint
from serving.engines import Generation, build_engine, choose_engine, compare_release

DEMO_MODEL = Path("outputs/demo/stage2/model")


class CodeSettings(Settings):
    """What to ask, and whom."""

    phrase: str | None = Field(None, description="clinical text; one per line of standard input when left out")
    model: Path | None = Field(None, description=f"checkpoint folder; {DEMO_MODEL} where there is one")
    base_url: str | None = Field(None, description="URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1")
    model_name: str | None = Field(None, description="name of the model on that server, where it has several")
    code_file: FilePath | None = Field(None, description="CMS code file of the release to use; the embedded one when empty")
    constrained: bool = Field(True, description="let answers hold existing codes only")
    max_tokens: PositiveInt = Field(256, description="most tokens an answer may have")
    as_json: bool = Field(False, description="write JSON, one object per phrase")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Ask the model or the server for each phrase and print what it says."""
    settings = load_settings(CodeSettings, argv, doc=__doc__ or "", prog="icdtune code", positional="phrase")
    phrases = [settings.phrase] if settings.phrase is not None else _read_phrases()
    codes = CodeSet.load(settings.code_file)
    model = settings.model
    if model is None and settings.base_url is None:
        model = DEMO_MODEL if DEMO_MODEL.exists() else None
        if model is None:
            raise ConfigError(
                "no model to ask: give a checkpoint folder (--model) or the URL of a server (--base-url); "
                f"`make demo` writes a checkpoint to {DEMO_MODEL}"
            )
    kind = choose_engine("endpoint" if model is None else "transformers", model, settings.base_url)
    if model is not None:
        for warning in check_checkpoint(model, codes.release).warnings:
            say(f"warning: {warning}")
    engine = build_engine(
        kind,
        model=model,
        base_url=settings.base_url,
        model_name=settings.model_name,
        code_file=settings.code_file,
        constrained=settings.constrained,
        max_tokens=settings.max_tokens,
        progress=False,
    )
    for warning in compare_release(engine, codes):
        say(f"warning: {warning}")
    generations = engine.generate(phrases)
    checker = Checker(codes)
    for phrase, generation in zip(phrases, generations, strict=True):
        write = write_json if settings.as_json else write_table
        print(write(phrase, generation, checker))
    say("Decision support only: a certified coder decides.")
    failed = [generation.error for generation in generations if generation.finish_reason == "error"]
    if failed:
        raise EngineError(f"{len(failed)} of {len(phrases)} phrases were not answered: {failed[0]}")
    return 0


def _read_phrases() -> list[str]:
    if sys.stdin.isatty():
        say('reading one phrase per line, end with Ctrl-D (or: icdtune code "T2DM w/ foot ulcer")')
    phrases = [line.strip() for line in sys.stdin if line.strip()]
    if not phrases:
        raise ConfigError('nothing to code: give a phrase (icdtune code "T2DM w/ foot ulcer") or lines on standard input')
    return phrases


def _read(generation: Generation, codes: CodeSet) -> Answer:
    cut = generation.finish_reason == "length"
    return read_answer(drop_cut_code(generation.text) if cut else generation.text, codes)


def _find_remarks(answer: Answer, checker: Checker) -> list[Finding]:
    """Return what there is to say about an answer; reminders of what the text may not hold are left out."""
    if checker.knowledge.codes.release != checker.knowledge.tabular.release:
        return []
    return [finding for finding in checker.check(answer.codes) if finding.severity != Severity.INFO]


def write_json(phrase: str, generation: Generation, checker: Checker) -> str:
    codes = checker.knowledge.codes
    answer = _read(generation, codes)
    row: dict[str, Any] = {
        "text": phrase,
        "codes": [{"code": code, "title": codes.title(code)} for code in answer.codes],
        "score": generation.score,
        "rejected": list(answer.rejected),
        "findings": [finding._asdict() for finding in _find_remarks(answer, checker)],
        "finish_reason": generation.finish_reason,
    }
    return json.dumps(row | ({"error": generation.error} if generation.error else {}), ensure_ascii=False)


def write_table(phrase: str, generation: Generation, checker: Checker) -> str:
    codes = checker.knowledge.codes
    answer = _read(generation, codes)
    lines = [phrase] + [f"  {code:<8}  {codes.title(code)}" for code in answer.codes]
    lines += [f"  {code:<8}  (not a billable code of release {codes.release})" for code in answer.rejected]
    if generation.finish_reason == "length":
        lines.append("  … (cut off by --max-tokens)")
    lines += [f"  ! {finding.message}" for finding in _find_remarks(answer, checker)]
    return "\n".join(lines if len(lines) > 1 else [phrase, f"  no code ({generation.error or 'the answer holds none'})"])


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
