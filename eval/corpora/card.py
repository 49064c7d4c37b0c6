"""`corpus_card.md`: what a prepared corpus holds, and what became of everything that it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from data_gen.card import build_table
from data_gen.examples import SPLITS
from eval.corpora.assemble import Assembled
from eval.corpora.records import Ledger
from eval.corpora.settings import CorpusSettings
from icd10cm.codeset import CODE_SHAPE, CodeSet

_SECTIONS = {
    "rows": "Rows of the tables",
    "texts": "Texts",
    "diagnoses": "Diagnoses of the texts",
    "procedures": "Procedures of the texts",
    "labels": "From diagnoses to labels",
}
_SHOWN = 30
_FEW = 10
_RESTRICTED = """**Restricted**: `run.json` and the parquet files say `restricted: true`. The texts may not be shown in reports
or logs, nor leave the machine; this card, `run.json` and counts are not for publication either unless the data use agreement
allows it.

"""


def build_card(
    settings: CorpusSettings, about: str, assembled: Assembled, ledger: Ledger, codeset: CodeSet, hashes: Mapping[str, str]
) -> str:
    """Return the card; the same corpus and settings have the same card."""
    parts = [
        f"# Corpus: {settings.corpus}",
        f"{about} Codes are those of release {codeset.release}.",
        (_RESTRICTED if settings.is_restricted else "").strip(),
        f"## Examples\n\n{_list_splits(assembled, ledger)}",
        _describe_labels(settings, assembled),
        "\n".join(f"- {remark}" for remark in ledger.remarks),
        *(
            f"## {title}\n\n{_list_section(ledger.sections.get(key, {}))}"
            for key, title in _SECTIONS.items()
            if key in ledger.sections
        ),
        f"## Codes without a place in the release\n\n{list_lost(ledger)}",
        f"## Attributes\n\n{_list_attributes(assembled)}",
        f"## Files\n\n{build_table(('file', 'sha256'), sorted(hashes.items()))}",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _list_splits(assembled: Assembled, ledger: Ledger) -> str:
    rows = []
    for split in SPLITS:
        examples = [one.example for one in assembled.placed if one.example.split == split]
        n_codes = sum(len(example.codes) for example in examples)
        characters = ledger.sections.get("characters", {}).get(split, 0)
        number = max(len(examples), 1)
        distinct = len({code for example in examples for code in example.codes})
        patients = len({example.patient for example in examples} - {""})
        rows.append((split, len(examples), patients, distinct, f"{n_codes / number:.1f}", characters // number))
    leaks = ", ".join(f"{what}: {number:,}" for what, number in ledger.sections.get("leaks", {}).items())
    head = ("split", "texts", "patients", "distinct codes", "codes per text", "characters per text")
    return f"{build_table(head, rows)}\n\n{leaks[:1].upper()}{leaks[1:]}."


def _describe_labels(settings: CorpusSettings, assembled: Assembled) -> str:
    what = "diagnoses and ICD-10-PCS procedures" if settings.procedures else "diagnoses only"
    if settings.labels == "full":
        return f"Labels: full, {what}."
    return (
        f"Labels: the {len(assembled.labels)} most frequent codes of train, {what}; a text with none of them is left out. "
        f"In order: {', '.join(assembled.labels)}."
    )


def _list_section(rows: Mapping[str, int]) -> str:
    return build_table(("what", "number"), list(rows.items()))


def list_lost(ledger: Ledger) -> str:
    """Return the codes that were lost most often; what has not the shape of a code, and how rare the rare are, is not told."""
    shown = [(code, why, number) for (code, why), number in ledger.lost.items() if CODE_SHAPE.fullmatch(code)]
    if not shown:
        return "None that has the shape of a code."
    shown.sort(key=lambda row: (-row[2], row[0]))
    rows: list[Sequence[str | int]] = [
        (code, why.removeprefix("lost: "), number if number >= _FEW else f"<{_FEW}") for code, why, number in shown[:_SHOWN]
    ]
    rest = f"\n\nAnd {len(shown) - _SHOWN:,} more." if len(shown) > _SHOWN else ""
    return build_table(("code", "why", "times"), rows) + rest


def _list_attributes(assembled: Assembled) -> str:
    counts = Counter(pair for one in assembled.placed for pair in one.example.attributes)
    if not counts:
        return "None."
    values = Counter(name for name, _ in counts)
    rows: list[Sequence[str | int]] = [
        (name, value, number if number >= _FEW else f"<{_FEW}")
        for (name, value), number in sorted(counts.items())
        if values[name] <= _SHOWN
    ]
    many = [f"- {name}: {number:,} values" for name, number in sorted(values.items()) if number > _SHOWN]
    return "\n\n".join(filter(None, [build_table(("attribute", "value", "texts"), rows) if rows else "", "\n".join(many)]))
