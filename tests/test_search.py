"""Search: what comes first for what coders type, that nothing typed breaks it, and that its cache heals."""

from __future__ import annotations

import io
import json
import random
import shutil
import string
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from icd10cm import CodeSet, lookup
from icd10cm.embedded import find_cache_folder
from icd10cm.search import SearchIndex
from icd10cm.search.entries import Roles, split_roles
from icd10cm.search.words import find_root
from icd10cm.tabular import Tabular

CATEGORIES = ("E10", "E11", "I10", "J18", "J45", "M17", "R51", "S72", "W19")
SYNTAX = [
    '"', '"foot', "foot ulcer*", "NEAR(foot ulcer)", "(foot", "a AND", "OR", "NOT foot", "^foot", "core:foot", "+foot -ulcer",
    "foot~2", "[foot TO ulcer]", "{}", "\\", "'", "foot'; DROP TABLE codes;--", "%", "\x00", "\ud800", "é\u0301", "ﬁbrosis",
    "١٢", "🦴 fracture", "a" * 100_000, "foot " * 5000, "\n\t", "-", "E", "E1", "...", "E..", "1.2.3",
]  # fmt: skip


@pytest.fixture(scope="session")
def index() -> SearchIndex:
    """The embedded release."""
    return SearchIndex.load()


@pytest.fixture(scope="module")
def few_codes(codes: CodeSet) -> CodeSet:
    """A few categories, so that an index is made in no time."""
    headings = {code: heading for code, heading in codes.headings.items() if code[:3] in CATEGORIES}
    return CodeSet(codes.release, headings, "a few categories")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of one's own, with what the embedded release needs already in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    Tabular.load()
    for pattern in ("codeset-*", "tabular-*"):
        for path in find_cache_folder().glob(pattern):
            shutil.copy(path, folder)
    monkeypatch.setenv("ICDTUNE_CACHE", str(folder))
    return folder


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("type 2 diabetes", "E11.9"), ("diabetes", "E11.9"), ("hypertension", "I10"), ("pneumonia", "J18.9"),
        ("asthma", "J45.909"), ("chest pain", "R07.9"), ("low back pain", "M54.50"), ("headache", "R51.9"),
        ("depression", "F32.A"), ("stroke", "I63.9"), ("sepsis", "A41.9"), ("anemia", "D64.9"), ("fever", "R50.9"),
        ("nausea and vomiting", "R11.2"), ("dizziness", "R42"), ("syncope", "R55"), ("gout", "M10.9"),
        ("dementia", "F03.90"), ("heart failure", "I50.9"), ("fall", "W19.XXXA"), ("acute kidney injury", "N17.9"),
        ("atrial fibrillation", "I48.91"), ("iron deficiency anemia", "D50.9"), ("cellulitis of left leg", "L03.116"),
        ("femur fracture", "S72.90XA"), ("laceration right hand", "S61.411A"), ("diabetic foot ulcer", "E11.621"),
        ("acute hypoxic respiratory failure", "J96.01"), ("urinary retention", "R33.9"),
    ],
)  # fmt: skip
def test_the_plain_code_comes_first(index: SearchIndex, text: str, code: str) -> None:
    assert index.search(text)[0].code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("T2DM w/ foot ulcer", "E11.621"), ("htn", "I10"), ("HTN", "I10"), ("afib", "I48.91"), ("COPD", "J44.9"),
        ("L knee OA", "M17.12"), ("CKD 3b", "N18.32"), ("uti", "N39.0"), ("type II DM with neuropathy", "E11.40"),
        ("NSTEMI", "I21.4"), ("AKI", "N17.9"), ("breast cancer", "C50.919"), ("heart attack", "I21.9"),
        ("kidney stones", "N20.0"), ("high blood pressure", "I10"), ("MS", "G35.D"),
    ],
)  # fmt: skip
def test_short_forms_and_synonyms_are_spelled_out(index: SearchIndex, text: str, code: str) -> None:
    assert index.search(text)[0].code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("diabtes melitus", "E11.9"), ("pnuemonia", "J18.9"), ("fracutre of rigth femur", "S72.91XA"),
        ("haert attak", "I21.9"), ("preeclampia", "O14.90"), ("hyppothyroid", "E03.9"),
        ("osteoarthrits of left nee", "M17.12"), ("kidny stones", "N20.0"), ("footulcer type2 diabetes", "E11.621"),
        ("hyper tension", "I10"), ("posttraumatic stress disorder", "F43.10"),
    ],
)  # fmt: skip
def test_misspelled_words_are_found(index: SearchIndex, text: str, code: str) -> None:
    assert index.search(text)[0].code == code


def test_order_does_not_matter_and_words_may_be_begun(index: SearchIndex) -> None:
    assert index.search("ulcer foot with mellitus diabetes 2 type")[0].code == "E11.621"
    for text in ("diab foot ul", "diab foot ulc", "diabetic foo ulce"):
        assert index.search(text)[0].code == "E11.621", text


def test_capitals_decide_between_a_word_and_a_short_form(index: SearchIndex) -> None:
    assert (
        "stenosis" in index.search("AS", limit=1)[0].title + index.search("AS")[1].title
        or index.search("AS")[0].code == "M45.9"
    )
    assert index.search("pain as a symptom")[0].title != index.search("AS")[0].title


def test_what_is_absent_is_no_answer_unless_asked_for(index: SearchIndex) -> None:
    assert index.search("cystitis with hematuria")[0].code == "N30.91"
    assert index.search("acute cystitis w/o hematuria")[0].code == "N30.00"
    assert index.search("GERD")[0].code == "K21.9"


def test_hits_say_what_matched(index: SearchIndex, codes: CodeSet) -> None:
    by_title, by_term = index.search("Unspecified asthma, uncomplicated")[0], index.search("brittle diabetes")[0]
    assert (by_title.kind, by_title.matched, by_title.score) == ("title", by_title.title, 1.0)
    assert (by_term.kind, by_term.code) == ("inclusion term", "E10.9") and "brittle diabetes" in by_term.matched
    for text in ("fracture of femur", "diabtes", "x"):
        hits = index.search(text, limit=50)
        assert len({hit.code for hit in hits}) == len(hits) and [hit.score for hit in hits] == sorted(
            (hit.score for hit in hits), reverse=True
        )
        assert all(codes.is_billable(hit.code) and 0 < hit.score <= 1 and hit.title == codes.title(hit.code) for hit in hits)
    assert len(index.search("fracture", limit=500)) > 300 and index.search("fracture", limit=0) == []


def test_the_beginning_of_a_code_lists_codes(index: SearchIndex, codes: CodeSet) -> None:
    hits = index.search("e11.6", limit=100)
    assert [hit.code for hit in hits] == list(codes.select(["E11.6"])) and {hit.kind for hit in hits} == {"code"}
    assert [hit.code for hit in index.search("E11621")] == ["E11.621"]
    assert index.search("S52", limit=3)[0].code == "S52.001A"
    assert index.search("S52", limit=3, billable_only=False)[0].code == "S52"
    assert index.search("c4a", limit=1)[0].code == "C4A.0"
    assert index.search("B12 deficiency")[0].kind != "code"


def test_headings_only_where_wanted(index: SearchIndex) -> None:
    assert index.search("asthma", billable_only=False)[0].code == "J45"
    assert index.search("asthma")[0].code == "J45.909"


@pytest.mark.parametrize("text", SYNTAX)
def test_signs_of_query_languages_mean_nothing(index: SearchIndex, text: str) -> None:
    for hit in index.search(text):
        assert hit.score > 0


def test_an_empty_query_finds_nothing(index: SearchIndex) -> None:
    assert [index.search(text) for text in ("", "   ", ",;!", "zzqqxxyy")] == [[], [], [], []]


@pytest.mark.parametrize("n", [1000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_random_strings_never_raise(few_codes: CodeSet, cache: Path, index: SearchIndex, n: int) -> None:
    small, rng = SearchIndex.load(few_codes), random.Random(20)
    words = [word for code in few_codes.codes[::50] for word in few_codes.title(code).split()] + [
        "w/",
        "T2DM",
        "&",
        "E11",
        "*",
        '"',
    ]
    signs = string.printable + "éü–’\u200b٣字"
    for number in range(n):
        picked = rng.choices(words, k=rng.randrange(6))
        noise = "".join(rng.choices(signs, k=rng.randrange(12)))
        text = rng.choice((noise, " ".join(picked), " ".join([*picked, noise]), noise.join(picked)))
        hits = small.search(text, limit=rng.randrange(12))
        assert all(hit.code in few_codes for hit in hits)
        if number % 100 == 0:
            index.search(text)


def test_a_vocabulary_of_ones_own(few_codes: CodeSet, cache: Path) -> None:
    plain, own = SearchIndex.load(few_codes, abbreviations=()), SearchIndex.load(few_codes, abbreviations=[("zq", "headache")])
    assert plain.search("zq") == [] and own.search("zq")[0].code == "R51.9"
    assert plain.search("htn") == [] and SearchIndex.load(few_codes).search("htn")[0].code == "I10"


def test_roles_of_words() -> None:
    assert split_roles("Pneumonia, unspecified organism") == Roles(("pneumonia",), neutral=("unspecified", "organism"))
    assert split_roles("Syncope and collapse").either == ("syncope", "and", "collapse")
    assert split_roles("Epilepsy, unspecified, not intractable, without status epilepticus").core == ("epilepsy",)
    assert split_roles("Laceration without foreign body of right hand").core == ("laceration", "of", "right", "hand")
    assert split_roles("Respiratory failure, unspecified with hypoxia").core == ("respiratory", "failure", "with", "hypoxia")
    assert split_roles("Unspecified").core == ("unspecified",)
    assert find_root("pancreas") == find_root("pancreatic") and find_root("urine") == find_root("urinary")
    assert find_root("arthritis") != find_root("arthrosis")


def list_scratch(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name.endswith((".tmp", ".damaged"))]


def test_a_second_load_opens_what_the_first_made(few_codes: CodeSet, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = SearchIndex.load(few_codes).search("diabetes with ulcer", limit=30)
    monkeypatch.setattr("icd10cm.search.index.make_store", None)
    assert SearchIndex.load(few_codes).search("diabetes with ulcer", limit=30) == before
    with pytest.raises(TypeError):
        SearchIndex.load(CodeSet(few_codes.release, dict(list(few_codes.headings.items())[:-1]), "another"))


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "no check", "not a folder"])
def test_a_damaged_index_is_made_again(few_codes: CodeSet, cache: Path, damage: str) -> None:
    before = SearchIndex.load(few_codes).search("knee", limit=30)
    (folder,) = cache.glob("search-*")
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
    if damage == "cut":
        files[-1].write_bytes(files[-1].read_bytes()[:-100])
    elif damage == "changed":
        for file in files[-4:]:
            raw = bytearray(file.read_bytes())
            raw[len(raw) // 2] ^= 1
            file.write_bytes(raw)
    elif damage == "missing":
        next(folder.glob("*.idx")).unlink()
    elif damage == "no check":
        (folder / "check.json").write_text("[]")
    else:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.write_text("in the way")
    assert SearchIndex.load(few_codes).search("knee", limit=30) == before
    assert list_scratch(cache) == []
    if damage != "not a folder":
        assert (folder / "check.json").stat().st_size > 10


def test_without_a_cache_folder_it_works_in_memory(few_codes: CodeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Tabular.load()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ICDTUNE_CACHE", str(tmp_path / "file"))
    assert SearchIndex.load(few_codes).search("headache")[0].code == "R51.9"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_processes_that_make_it_at_once_share_one(cache: Path, few_codes: CodeSet) -> None:
    program = (
        "from icd10cm import CodeSet; from icd10cm.search import SearchIndex; codes = CodeSet.load()\n"
        f"few = {{c: h for c, h in codes.headings.items() if c[:3] in {CATEGORIES}}}\n"
        "print(SearchIndex.load(CodeSet(codes.release, few, 'few')).search('diabetes')[0].code)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0] for process in running] == ["E11.9\n"] * 3
    assert len(list(cache.glob("search-*"))) == 1 and list_scratch(cache) == []


def test_the_key_is_what_the_index_is_made_of(few_codes: CodeSet, cache: Path, tmp_path: Path) -> None:
    entry = "<mainTerm><title>Zqxitis</title><code>J18.9</code></mainTerm>"
    file = tmp_path / "index.xml"
    file.write_text(f"<ICD10CM.index><version>2026</version><letter><title>Z</title>{entry}</letter></ICD10CM.index>")
    assert SearchIndex.load(few_codes).search("zqxitis") == []
    hit = SearchIndex.load(few_codes, index_files=[file]).search("zqxitis")[0]
    assert (hit.code, hit.matched, hit.kind, hit.score) == ("J18.9", "Zqxitis", "index", 1.0)
    file.write_text(file.read_text().replace("J18.9", "I10"))
    assert SearchIndex.load(few_codes, index_files=[file]).search("zqxitis")[0].code == "I10"
    assert len(list(cache.glob("search-*"))) == 3


def test_a_plain_code_file_of_another_release(shared_data: Path, cache: Path) -> None:
    codes = CodeSet.load(shared_data / "icd10cm" / "icd10cm_codes_2024.txt.gz")
    index = SearchIndex.load(codes)
    assert index.search("multiple sclerosis")[0].code == "G35"
    assert index.search("T2DM w/ foot ulcer")[0].code == "E11.621"
    assert index.search("brittle diabetes")[0].code == "E10.9"
    assert index.search("brittle diabetes", billable_only=False)[0].score > 0.5


@pytest.mark.slow
def test_texts_from_outside(index: SearchIndex, shared_data: Path) -> None:
    """Thresholds are a little under what was measured: 99.5, 97.6, 99.1 and 90.5 %. Inclusion terms are in the index."""
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted((shared_data / "external_dev").glob("*.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            texts[f"{path.stem} {row['scenario']}"].append((row["text"], row["codes"][0]))
    least = {
        "typo_terms typo": 0.985,
        "abbrev_terms abbreviated": 0.96,
        "index_terms reorder": 0.97,
        "index_terms near_title": 0.88,
    }
    for scenario, threshold in least.items():
        right = sum([hit.code for hit in index.search(text, limit=1)] == [code] for text, code in texts[scenario])
        assert right / len(texts[scenario]) >= threshold, scenario


def test_the_command_writes_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert lookup.run(["brittle diabetes", "--limit", "2"]) == 0
    phrase, first, _ = capsys.readouterr().out.splitlines()
    assert phrase == "brittle diabetes"
    assert first == "  E10.9     Type 1 diabetes mellitus without complications   (inclusion term: brittle diabetes (mellitus))"
    assert lookup.run(["asthma", "--limit", "1", "--headings"]) == 0
    assert capsys.readouterr().out.endswith("  J45       Asthma   (heading, not billable)\n")
    assert lookup.run(["zzqqxxyy"]) == 0
    assert "nothing found in release 2026" in capsys.readouterr().out


def test_the_command_reads_lines_and_writes_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("gout\n\n htn \n"))
    assert lookup.run(["--json", "--limit", "1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["text"], row["hits"][0]["code"]) for row in rows] == [("gout", "M10.9"), ("htn", "I10")]
    assert set(rows[0]["hits"][0]) == {"code", "title", "score", "matched", "kind"}


@pytest.mark.parametrize(
    ("words", "typed", "message"),
    [
        ([], " \n", "nothing to look for"),
        (["  "], "", "nothing to look for"),
        (["gout", "--index-file", "nowhere.xml"], "", "'nowhere.xml' does not exist"),
        (["gout", "--index-file", "pyproject.toml"], "", "not well-formed XML"),
        (["gout", "--limit", "0"], "", "'limit' should be greater than 0"),
    ],
)
def test_bad_input_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], typed: str, message: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    monkeypatch.chdir(Path(__file__).parent.parent)
    assert lookup.run(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err.splitlines()[-1]
