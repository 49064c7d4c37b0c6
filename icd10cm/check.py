"""Check lists of ICD-10-CM codes against the rules of the code set.

icdtune check E11.9 E10.9
icdtune check claims.txt --severity info
icdtune check --sex F --age 34 --encounter initial < lists.txt
icdtune check predictions.jsonl --json --fail-on warning

A file or standard input holds one list per line, principal diagnosis first: codes with commas, semicolons or blanks between,
or JSON objects with `codes` (or `predicted`) and, where known, `id`, `sex`, `age`, `encounter` and `date`.
Exit status: 0, or 1 when a list has a finding as serious as --fail-on, or 2 for bad input.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, FilePath

from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, DataError
from icd10cm.rules import Checker, Finding, Severity
from icd10cm.rules.medicare import find_medicare_edits
from icd10cm.tabular import Tabular
from icd10cm.text_lines import open_lines

FOUND = 1
_QUOTED = 160
_BETWEEN = re.compile(r"[\s,;|]+")
_PATIENT = ("sex", "age", "encounter", "date")


class CheckSettings(Settings):
    """What to check, and what is known of the patient."""

    codes: list[str] = Field([], description="codes of one list, or a file of lists; standard input when left out")
    sex: str | None = Field(None, description="F or M; for every list that does not say itself, like the next three")
    age: float | None = Field(None, ge=0, le=150, description="age in years")
    encounter: str | None = Field(None, description="initial, subsequent or sequela: compared with the 7th characters")
    date: str | None = Field(None, description="day of service, YYYY-MM-DD: is it coded with this release?")
    severity: Severity = Field(Severity.WARNING, description="least serious findings to show: error, warning or info")
    fail_on: Severity = Field(Severity.ERROR, description="exit with 1 when a finding is at least this serious")
    rules: list[str] | None = Field(None, description="names of the rules to apply; all when left out")
    medicare: bool = Field(False, description="also CMS's own edits for inpatient claims; needs the extra `medicare`")
    code_file: FilePath | None = Field(None, description="CMS code or order file of the release; the embedded one when empty")
    tabular_file: FilePath | None = Field(None, description="CMS tabular XML of the release; the embedded one when empty")
    as_json: bool = Field(False, description="write JSON, one object per list")


@dataclass(frozen=True)
class CodeList:
    """One list to check: where it stands, its codes, and what the line says of the patient."""

    name: str
    codes: list[str]
    patient: dict[str, Any] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Check each list, print what there is to say, and return 1 when any finding is as serious as `fail_on`."""
    settings = load_settings(CheckSettings, argv, doc=__doc__ or "", prog="icdtune check", positional="codes")
    codes, tabular = CodeSet.load(settings.code_file), Tabular.load(settings.tabular_file)
    if codes.release != tabular.release:
        say(f"warning: codes of release {codes.release}, tabular list of release {tabular.release}")
    checker = Checker(codes, tabular, settings.rules)
    counts: Counter[Severity] = Counter()
    n_lists = 0
    for listed in read_lists(settings.codes):
        patient = {key: getattr(settings, key) for key in _PATIENT} | listed.patient
        try:
            findings = checker.check(listed.codes, **patient)
        except ConfigError as error:
            raise DataError(f"{listed.name}: {error}") from None
        if settings.medicare:
            findings += _edit_for_medicare(listed, patient)
        n_lists += 1
        counts.update(finding.severity for finding in findings)
        shown = [finding for finding in findings if _is_as_serious(finding.severity, settings.severity)]
        print(_write_json(listed, shown, codes) if settings.as_json else _write_table(listed, shown, codes))
    _say_summary(n_lists, counts, settings.severity)
    return FOUND if any(_is_as_serious(severity, settings.fail_on) for severity in counts) else 0


def read_lists(words: Sequence[str]) -> Iterator[CodeList]:
    """Yield the lists to check: from a file when `words` is the name of one, the words themselves, or standard input.

    Raises:
        DataError: a line that is JSON but no list of codes, or a file that cannot be read; names the line.
        ConfigError: nothing to check.
    """
    if len(words) == 1 and (Path(words[0]).is_file() or _looks_like_file(words[0])):
        yield from _read_lines(words[0], open_lines(Path(words[0])))
    elif words:
        yield CodeList("command line", [code for word in words for code in _split(word)])
    else:
        if sys.stdin.isatty():
            say("reading one list of codes per line, end with Ctrl-D (or: icdtune check E11.9 E10.9)")
        yield from _read_lines("standard input", sys.stdin)


def _read_lines(source: str, lines: Iterable[str]) -> Iterator[CodeList]:
    empty = True
    for number, line in enumerate(lines, 1):
        text = line.strip().lstrip("\ufeff")
        if not text or text.startswith("#"):
            continue
        empty = False
        yield _read_line(f"{source}, line {number}", text)
    if empty:
        raise ConfigError(f"{source}: no list of codes; write one per line, such as: E11.9, I10")


def _read_line(name: str, text: str) -> CodeList:
    if text[0] not in "{[":
        return CodeList(name, _split(text))
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name}: not valid JSON ({error})") from None
    given = row if isinstance(row, list) else row.get("predicted", row.get("codes"))
    if not isinstance(given, list):
        raise DataError(f'{name}: an object needs "codes" (or "predicted"), a list of codes')
    entries = [code.get("code") if isinstance(code, dict) else code for code in given]
    codes = [code for code in entries if isinstance(code, str)]
    if len(codes) != len(given):
        raise DataError(f"{name}: the list holds something that is not text; write codes as text in quotes")
    if isinstance(row, list):
        return CodeList(name, codes)
    patient = {key: row[key] for key in _PATIENT if row.get(key) is not None}
    return CodeList(str(row.get("id", name)), codes, patient)


def _looks_like_file(word: str) -> bool:
    return "/" in word or word.endswith((".txt", ".jsonl", ".json", ".csv"))


def _split(text: str) -> list[str]:
    return [code for code in _BETWEEN.split(text) if code]


def _edit_for_medicare(listed: CodeList, patient: dict[str, Any]) -> list[Finding]:
    day = date.fromisoformat(patient["date"]) if patient["date"] else None
    return find_medicare_edits(listed.codes, patient["sex"], None if patient["age"] is None else int(patient["age"]), day)


def _is_as_serious(severity: Severity, least: Severity) -> bool:
    order = list(Severity)
    return order.index(severity) <= order.index(least)


def _write_json(listed: CodeList, findings: Sequence[Finding], codes: CodeSet) -> str:
    rows = [finding._asdict() for finding in findings]
    return json.dumps(
        {"id": listed.name, "codes": listed.codes, "release": codes.release, "findings": rows}, ensure_ascii=False
    )


def _write_table(listed: CodeList, findings: Sequence[Finding], codes: CodeSet) -> str:
    lines = [f"{listed.name}: {', '.join(listed.codes) or '(empty)'}"]
    if not findings:
        lines.append("  nothing to remark")
    for finding in findings:
        lines.append(f"  {finding.severity:<8} {finding.rule:<20} {finding.message}")
        if finding.node:
            quoted = f': "{textwrap.shorten(finding.text, _QUOTED, placeholder=" …")}"' if finding.text else ""
            lines.append(f"{'':32}{finding.node}{quoted}")
        lines += [f"{'':32}→ {_name_code(code, codes)}" for code in finding.suggestions]
    return "\n".join(lines)


def _name_code(code: str, codes: CodeSet) -> str:
    return f"{code}  {codes.title(code)}" if code in codes else code


def _say_summary(n_lists: int, counts: Counter[Severity], shown: Severity) -> None:
    names = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "reminder"}
    parts = []
    for severity, name in names.items():
        hidden = (
            "" if _is_as_serious(severity, shown) or not counts[severity] else f" (hidden: --severity {severity} shows them)"
        )
        parts.append(f"{counts[severity]} {name}{'' if counts[severity] == 1 else 's'}{hidden}")
    say(f"{n_lists} list{'' if n_lists == 1 else 's'}: {', '.join(parts)}. Decision support only: a certified coder decides.")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
