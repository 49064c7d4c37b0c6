"""The user's own short forms and misspellings: read, refused with the line, used in this data set and no other."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from data_gen.build import build_examples
from data_gen.checks import RowChecks
from data_gen.folding import fold_text
from data_gen.generate import run
from data_gen.lexicon import Lexicon
from data_gen.misspellings import read_misspellings
from data_gen.plan import Plan
from data_gen.variations import VARIATIONS, mixed
from data_gen.words import read_own_words, read_words_of
from icd10cm import CodeSet
from icd10cm.errors import DataError
from icd10cm.lexicon import LEXICON_FILE, Abbreviation, read_abbreviations
from icd10cm.tabular import Tabular

SMALL = str(Path(__file__).parent.parent / "configs" / "data" / "small.yaml")
TITLE = "Type 2 diabetes mellitus with foot ulcer"
MADE_UP = "qzd,type 2 diabetes mellitus,0.9\nqzf,foot,0.2\nqzu,ulcer,0.8\n"
"""Short forms that nothing else has; the second seldom means what it stands for."""


def write_file(folder: Path, content: str | bytes, name: str = "words.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("short,long,frequency\nAP,angina,0.75\n", [("AP", "angina", 0.75)]),
        ("HTN,hypertension\n\nAP,angina\n", [("HTN", "hypertension", 1), ("AP", "angina", 1)]),
        ('long,short\n"pain, chest",CP\n', [("CP", "pain, chest", 1)]),
        ("cp\tchest pain\t0.5\n", [("cp", "chest pain", 0.5)]),
        ("\ufeffshort,long,frequency\nCP,chest pain,3\nCP,palsy,1\n", [("CP", "chest pain", 0.75), ("CP", "palsy", 0.25)]),
        (
            "abbreviation\tsense\tvariation\tfrequency\na_p\tanterior posterior\tA/P_2|a/p_4\t0.9\npo\tby mouth\tx_9\t1\n",
            [("a/p", "anterior posterior", 0.9), ("po", "by mouth", 1)],
        ),
    ],
)  # fmt: skip
def test_lists_of_short_forms_are_read_in_every_layout(content: str, expected: list, tmp_path: Path) -> None:
    assert read_abbreviations(write_file(tmp_path, content)) == [Abbreviation(*form) for form in expected]


@pytest.mark.parametrize(
    ("content", "line", "named"),
    [
        ("", None, "empty"),
        ("AP\n", 1, "columns is 1, not 2"),
        ("AP,angina,0.5\nHTN,hypertension\n", 2, "columns is 2, not 3"),
        ("short,long,frequency\nAP,angina,often\n", 2, "'often'"),
        ("AP,angina,0.5\nMI,infarct,-1\n", 2, "'-1'"),
        ("AP,angina,nan\n", 1, "'nan'"),
        ("AP,angina,0.5\n\nHTN, ,0.5\n", 3, "column 2 is empty"),
        (b"AP,angina\nHTN,hypert\xe9nsion\n", 2, "UTF-8"),
        ('AP,angina\nCP,"chest pain\n', 2, "quot"),
    ],
)
def test_broken_list_of_short_forms_names_file_and_line(
    content: str | bytes, line: int | None, named: str, tmp_path: Path
) -> None:
    path = write_file(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_abbreviations(path)
    assert str(path) in str(caught.value) and named in str(caught.value) and "\n" not in str(caught.value)
    assert line is None or f"line {line}:" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line"), [("", None), ("diabtes\n", 1), ("diabtes,diabetes\nulcre,\n", 2), (b"a\xff,b\n", 1)]
)
def test_broken_list_of_misspellings_names_file_and_line(content: str | bytes, line: int | None, tmp_path: Path) -> None:
    path = write_file(tmp_path, content)
    with pytest.raises(DataError, match=re.escape(str(path)) + (f", line {line}:" if line else ": is empty")):
        read_misspellings([path])


@pytest.mark.parametrize(
    ("flag", "content", "named"),
    [
        (
            "--abbreviation-files",
            "HTN,hypertension\nAP,angina,0.5,x\n",
            ["words.csv, line 2", "columns is 4, not 2", "expected"],
        ),
        ("--misspelling-files", "diabtes,diabetes\nulcre\n", ["words.csv, line 2", "expected"]),
        ("--train-variants", "{mixd: 2}", ["'mixd'", "'mixed'"]),
        ("--typo-severity", "hard", ["typo_severity", "heavy"]),
    ],
)
def test_broken_words_stop_the_entry_with_nothing_written(
    flag: str, content: str, named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = str(write_file(tmp_path, content)) if flag.endswith("files") else content
    assert run(["--config", SMALL, "--output-dir", str(tmp_path / "d"), flag, given]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(text in lines[0] for text in named), lines
    assert {path.name for path in tmp_path.iterdir()} <= {"words.csv"}


def list_texts(codes: CodeSet, **keys: object) -> str:
    """Return the abbreviated texts of two codes, one a line, folded."""
    wanted = {"train_variants": {"abbreviated": 12}, "held_out_codes": 0, "workers": 1}
    built = build_examples(codes, codes.select(["E11.62"]), Plan.model_validate(wanted | keys))
    return "\n".join(fold_text(row.text) for rows in built.examples.values() for row in rows if row.scenario != "base")


def test_short_forms_of_the_user_are_in_this_data_set_only(codes: CodeSet, tmp_path: Path) -> None:
    held = list_texts(codes, abbreviation_files=[write_file(tmp_path, MADE_UP)])
    assert "qzd" in held and "qzu" in held and "qzf" not in held
    assert "qz" not in list_texts(codes)


def test_the_least_frequency_is_by_config(tmp_path: Path) -> None:
    path = write_file(tmp_path, MADE_UP)
    for least, expected in ((0.1, {"qzd", "qzf", "qzu"}), (0.85, {"qzd"})):
        plan = Plan.model_validate({"abbreviation_files": [path], "abbreviation_min_frequency": least})
        found = read_words_of(plan).lexicon.find_short_forms(TITLE)
        assert {short for hit in found for short in hit.shorts if short.startswith("qz")} == expected


def test_frequent_short_forms_are_written_more_often() -> None:
    forms = [Abbreviation("qza", "necrosis", 0.99), Abbreviation("qzb", "necrosis", 0.5)]
    forms = [Abbreviation("qza", "necrosis", 0.99), Abbreviation("qzb", "necrosis", 0.5)]
    words = read_own_words()._replace(lexicon=Lexicon([forms]))
    rng = random.Random(1)
    texts = [VARIATIONS["abbreviated"]("Medullary necrosis", rng, words) or "" for _ in range(600)]
    often, seldom = (sum(short in text.lower() for text in texts) for short in ("qza", "qzb"))
    assert 1.4 < often / seldom < 3


def test_shares_are_averaged_over_lists_and_single_letters_must_be_sure() -> None:
    lists = [
        [Abbreviation("qz", "necrosis", 0.6), Abbreviation("q", "ulcer", 0.8), Abbreviation("z", "foot", 0.95)],
        [Abbreviation("QZ", "company", 0.9)],
    ]
    lexicon = Lexicon(lists)
    shorts = {short for hit in lexicon.find_short_forms("Foot ulcer with necrosis") for short in hit.shorts}
    assert not {"qz", "q"} & shorts and "z" in shorts
    assert set(lexicon.list_meanings("qz")) == {"necrosis", "company"}


def test_a_text_that_is_a_short_form_of_something_else_is_thrown_away(codes: CodeSet) -> None:
    long = "chest pain, unspecified"
    forms = [Abbreviation("qzq", long, 0.6), Abbreviation("qzq", "knee brace", 0.4), Abbreviation("qzs", long, 1.0)]
    checks = RowChecks(codes, Tabular.load(), Lexicon([forms]))
    for short, fault in (("qzq", "is a short form of another term too"), ("qzs", None)):
        assert checks.find_fault("abbreviated", short, short, "R07.9", "rules:abbreviated") == fault


def test_misspellings_of_the_user_are_half_of_the_slips(tmp_path: Path) -> None:
    path = write_file(
        tmp_path, "misspelling,correction\nulzzcer,ulcer\nfoott,foot\nxiabetes,diabetes\ndiabets,diabetes,diabetic\n"
    )
    words = read_words_of(Plan.model_validate({"misspelling_files": [path]}))
    assert words.misspellings == {"ulcer": ("ulzzcer",), "foot": ("foott",), "diabetes": ("xiabetes",)}
    rng = random.Random(3)
    texts = [VARIATIONS["typo"]("Ulcer of foot", rng, words) or "" for _ in range(400)]
    slips = [word for text in texts for word in fold_text(text).split() if word not in ("ulcer", "of", "foot")]
    assert 0.3 < sum(word in ("ulzzcer", "foott") for word in slips) / len(slips) < 0.65
    first = [VARIATIONS["typo"]("Diabetes", rng, words) or "" for _ in range(100)]
    assert "xiabetes" not in " ".join(first).lower(), "the first letter stays"


def test_a_misspelling_that_is_a_word_of_a_title_is_left_out(tmp_path: Path) -> None:
    assert read_misspellings([write_file(tmp_path, "ilium,ileum\nilleum,ileum\n")]) == {"ileum": ("illeum",)}


def test_severity_is_the_number_of_slips() -> None:
    def count(severity: str) -> float:
        words = read_words_of(Plan.model_validate({"typo_severity": severity}))
        rng = random.Random(5)
        title = "Atherosclerotic heart disease of native coronary artery with unstable angina pectoris"
        texts = [fold_text(VARIATIONS["typo"](title, rng, words) or title).split() for _ in range(200)]
        return sum(word not in title.lower().split() for text in texts for word in text) / len(texts)

    light, usual, heavy = map(count, ("light", "usual", "heavy"))
    assert light <= 1 and light * 1.4 < usual and usual * 1.4 < heavy


def test_the_lists_in_use_load_fast(shared_data: Path) -> None:
    forms = [form for path in sorted((shared_data / "abbreviations").glob("*.txt")) for form in read_abbreviations(path)]
    assert len(forms) > 3500 and Abbreviation("HTN", "hypertension", 1.0) in forms
    assert len(read_abbreviations(LEXICON_FILE)) > 1000
    started = time.process_time()
    misspelt = read_misspellings([shared_data / "misspellings" / "typos_words.csv"])
    assert time.process_time() - started < 3
    assert len(misspelt) > 500 and all(misspelt.values())


@pytest.fixture(scope="module")
def checks(codes: CodeSet) -> RowChecks:
    return RowChecks(codes, Tabular.load())


@pytest.mark.parametrize("base", mixed.BASES)
def test_mixed_spares_short_forms_and_is_checked(base: str, checks: RowChecks) -> None:
    rng = random.Random(7)
    texts = {text for _ in range(60) if (text := mixed.mix(base, TITLE, rng))}
    source = f"rules:{base}+typo"
    fine = [text for text in texts if checks.find_fault("mixed", text, fold_text(text), "E11.621", source) is None]
    assert len(fine) > 0.8 * len(texts) > 20
    for text in ("T2DM w/ foot ulcer", "foot ulcer in type 2 diabetes mellitus", "T2MD w/ foot ulcer", "T1DM w/ fooot ulcer"):
        assert checks.find_fault("mixed", text, fold_text(text), "E11.621", source) is not None, text
