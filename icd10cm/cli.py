"""`icdtune`: every entry under one command. An entry is imported only when it is called, so that `--help` stays quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from icd10cm.config import suggest_name
from icd10cm.entry import BAD_INPUT, say_error

COMMANDS = {
    "demo": ("eval.demo", "the whole idea in a few minutes: data, two training stages, scores, a served answer"),
    "generate": ("data_gen.generate", "write training and test examples from a release of ICD-10-CM"),
    "sft": ("finetune.sft", "fine-tune a model on examples, any stage (several processes: accelerate launch -m finetune.sft)"),
    "reinforce": ("finetune.grpo", "train a checkpoint further by rewards for the answers that it samples"),
    "merge": ("finetune.merge", "merge a LoRA adapter into its base, and prove that the answers stay the same"),
    "openai-job": ("finetune.openai_job", "fine-tune through OpenAI's API: the price first, then the job, watched to its end"),
    "corpus": ("eval.corpora.prepare", "make MIMIC-IV, CodiEsp or your own notes with codes into examples"),
    "predict": ("eval.predict", "answer examples with a checkpoint, a served model or the retrieval floor"),
    "score": ("eval.score", "score predictions"),
    "calibrate": ("eval.calibrate", "measure on validation how far a checkpoint's confidence can be trusted, and put it right"),
    "paired": ("eval.paired", "compare two predictions files: differences with intervals, who gets which case right"),
    "combine": ("eval.combine", "answer with a floor where a model is unsure, by a threshold chosen on validation"),
    "table": ("eval.table", "scores of several engines side by side, as a Markdown table"),
    "report": ("eval.report", "draw scores as one HTML page"),
    "serve": ("serving.serve", "serve a checkpoint behind an OpenAI-compatible API"),
    "api": ("serving.api.start", "serve the coding API and its page in front of a model server"),
    "audit": ("serving.audit.command", "verify the coding API's audit log, or show its last records"),
    "code": ("serving.code", "write the codes for a phrase"),
    "check": ("icd10cm.check", "check lists of codes against the rules of the code set, each remark with its note"),
    "notes": ("icd10cm.notes", "show what the tabular list says of a code"),
    "search": ("icd10cm.lookup", "find codes by words, abbreviations, misspellings or the beginning of a code"),
    "compare": ("icd10cm.compare", "compare two releases: added, deleted, retitled, successors"),
    "update": ("data_gen.update", "write what an existing checkpoint must learn for a new release"),
}
"""Command to the module whose `run(argv)` it calls, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `icdtune COMMAND …` and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_write_help())
        return 0 if arguments else BAD_INPUT
    command, *rest = arguments
    if command not in COMMANDS:
        say_error(f"no command {command!r}{suggest_name(command, COMMANDS)}")
        return BAD_INPUT
    return importlib.import_module(COMMANDS[command][0]).run(rest)


def _write_help() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    usage = "usage: icdtune COMMAND [options]      icdtune COMMAND --help"
    return "\n".join([usage, "", *rows, "", "Decision support only: a certified coder decides."])
