"""Bad input, the price before anything is spent, and the store by itself: no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from writer_runs import PRICES, Done, call

from data_gen.variations import VARIATIONS
from data_gen.writers.pace import read_retry_after
from data_gen.writers.prompts import PROMPTS
from data_gen.writers.reading import read_body
from data_gen.writers.store import open_store, read_store
from icd10cm.errors import DataError

REMOTE = {"base_url": "https://api.example.com/v1", "model": "writer", "prices": PRICES}


def call_with(folder: Path, *arguments: str, writer: dict[str, Any] | None = None, **settings: Any) -> Done:
    content = {
        "output_dir": str(folder / "data"),
        "prefixes": ["E11.2"],
        "train_variants": {"typo": 2, "paraphrased": 2},
        "backend": "openai",
        "writer": REMOTE if writer is None else writer,
        **settings,
    }
    path = folder / "llm.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return call(path, *arguments)


def check_refused(done: Done, folder: Path, *words: str) -> None:
    assert done.returncode == 2 and not done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("icdtune: error: ") and all(word in line for word in words), line
    assert not (folder / "data").exists()


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "style.txt").write_text("c/o CP x 2d\n")
    style = {"examples_file": str(tmp_path / "style.txt")}
    allowed = {"allow_clinical_text_to_leave": True}
    here = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    bare = {"base_url": "https://api.example.com/v1", "model": "writer"}
    for words, wrong in [
        (("'max_cost_usd': 0 pays for no request",), {"max_cost_usd": 0}),
        (("'max_cost_usd': -1",), {"max_cost_usd": -1}),
        (("prices are needed for api.example.com", "as_of"), {"writer": bare}),
        (("max_cost_usd needs `writer.prices`",), {"writer": here, "max_cost_usd": 1}),
        (("backend openai needs `writer:",), {"writer": None}),
        (("batch would have no effect",), {"backend": "rules", "batch": True}),
        (("'backend' should be 'rules' or 'openai'",), {"backend": "opneai"}),
        (("writer.bse_url", "did you mean 'base_url'"), {"writer": REMOTE | {"bse_url": "x"}}),
        (("is not an address",), {"writer": REMOTE | {"base_url": "api.example.com"}}),
        (("an address holds no password",), {"writer": REMOTE | {"base_url": "https://me:secret@api.example.com/v1"}}),
        (("model cannot be set here",), {"writer": REMOTE | {"extra_body": {"model": "x"}}}),
        (("counts as clinical text", "allow_clinical_text_to_leave: true"), {"writer": REMOTE | style}),
        (("does not exist",), {"writer": REMOTE | {"examples_file": str(tmp_path / "none.txt")}}),
        (("store cannot be set here",), {"writer": REMOTE | {"extra_body": {"store": True}}}),
        (("recover would make api.example.com keep the lines",), {"writer": REMOTE | style | allowed | {"recover": True}}),
        (("'writer.store'", "style.txt' is a file"), {"writer": here | {"store": str(tmp_path / "style.txt")}}),
        (("/proc/none/answers.jsonl: cannot be opened",), {"writer": here | {"store": "/proc/none"}}),
    ]:  # fmt: skip
        content = {"writer": REMOTE} | wrong
        path = tmp_path / "llm.yaml"
        settings = {"output_dir": str(tmp_path / "data"), "prefixes": ["E11.2"], "backend": "openai", **content}
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        check_refused(call(path), tmp_path, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm.yaml", "style.txt"]


def test_a_missing_key_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    check_refused(call_with(tmp_path), tmp_path, "api.example.com wants an API key", "OPENAI_API_KEY")
    assert [path.name for path in tmp_path.iterdir()] == ["llm.yaml"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"kind": "about", "model": "gpt", "release": "2026"}\n', ("answers for model gpt, not m", "writer.store")),
        (b'{"kind": "about", "model": "m", "release": "2025"}\n', ("answers for release 2025, not 2026", "writer.store")),
        (b'{"kind": "answer", "key": "torn\n{}\n', ("answers.jsonl, line 1: not a record", "restore")),
        (b"\xff\xfe\n", ("answers.jsonl, line 1: not a record", "restore")),
        (None, ("answers.jsonl: cannot be opened (Is a directory)", "writer.store")),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_a_store_of_something_else_is_one_line_and_stays_as_it_is(
    tmp_path: Path, content: bytes | None, words: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    path = tmp_path / "store" / "answers.jsonl"
    path.parent.mkdir()
    path.mkdir() if content is None else path.write_bytes(content)
    writer = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "store": str(path.parent)}
    check_refused(call_with(tmp_path, *arguments, writer=writer), tmp_path, *words)
    assert list(path.parent.iterdir()) == [path] and (content is None or path.read_bytes() == content)


def test_dry_run_says_the_price_and_touches_nothing(tmp_path: Path) -> None:
    done = call_with(tmp_path, "--dry-run", "--max-cost-usd", "5")
    assert done.returncode == 0, done.stderr
    assert "6 requests, 0 of them answered already" in done.stdout and "by the prices of 2026-11-21" in done.stdout
    assert "limit (`max_cost_usd`): $5.00 over all runs" in done.stdout and "Your task: misspell" in done.stdout
    n_input = int(done.stdout.split("input ")[1].split(",")[0] + done.stdout.split("input ")[1].split(",")[1].split()[0])
    most = float(done.stdout.split("at most $")[1].split(";")[0])
    assert most == pytest.approx((n_input * 1.0 + 6 * 600 * 10.0) / 1e6, abs=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["llm.yaml"]
    half = call_with(tmp_path, "--dry-run", "--batch")
    assert float(half.stdout.split("at most $")[1].split(";")[0]) == pytest.approx(most / 2, abs=1e-4)


def test_only_where_money_is_at_stake_is_the_provider_asked_to_keep_answers(tmp_path: Path) -> None:
    (tmp_path / "style.txt").write_text("c/o CP x 2d\n")
    style = {"examples_file": str(tmp_path / "style.txt"), "allow_clinical_text_to_leave": True}
    here = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    for writer, kept in [
        (REMOTE, True),
        (REMOTE | {"recover": False}, False),
        (REMOTE | style, False),
        (here, False),
        (here | {"recover": True}, True),
    ]:
        done = call_with(tmp_path, "--dry-run", writer=writer)
        assert ('"store": true' in done.stdout) is ('"icdtune_key": "' in done.stdout) is kept, done.stdout


def test_clinical_text_may_leave_where_the_config_says_so_and_is_in_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "style.txt").write_text("c/o CP x 2d\n\n")
    style = {"examples_file": str(tmp_path / "style.txt")}
    allowed = call_with(tmp_path, "--dry-run", writer=REMOTE | style | {"allow_clinical_text_to_leave": True})
    assert allowed.returncode == 0 and "- c/o CP x 2d" in allowed.stdout
    here = call_with(tmp_path, "--dry-run", writer={"base_url": "http://localhost:8000/v1", "model": "m"} | style)
    assert here.returncode == 0 and "- c/o CP x 2d" in here.stdout and "price: none given" in here.stdout


def test_every_variation_has_a_prompt() -> None:
    assert set(VARIATIONS) == set(PROMPTS)


def test_a_torn_last_line_is_cut_off_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add_sent("a", 0.5)
        store.add_sent("b", 0.25)
        store.add_answer("a", {"text": "é\u2028\ud800"}, 0.125, 0.5)
        assert store.spent == 0.375 and store.n_lost == 1
    path = tmp_path / "answers.jsonl"
    whole = path.read_bytes()
    for cut in range(1, 60):
        path.write_bytes(whole[:-cut])
        with open_store(tmp_path) as store:
            assert "a" not in store and store.spent == 0.75
            store.add_answer("c", "text", 0.0, 0.0)
        with read_store(tmp_path) as store:
            assert store.find("c")["body"] == "text" and store.n_lost == 2
    path.write_bytes(whole + b"{broken}\n" + whole)
    with pytest.raises(DataError, match="line 4: not a record"), open_store(tmp_path):
        pass


def test_reading_a_store_neither_repairs_nor_creates_it(tmp_path: Path) -> None:
    with read_store(tmp_path / "none") as store:
        assert store.find("a") is None and not (tmp_path / "none").exists()
    (tmp_path / "answers.jsonl").write_bytes(b'{"kind": "torn')
    with read_store(tmp_path) as store:
        assert not store.about and (tmp_path / "answers.jsonl").read_bytes() == b'{"kind": "torn'


@pytest.mark.parametrize(
    "body", ["", [], {}, {"choices": []}, {"choices": [3]}, {"choices": [{"message": {"content": 3}}]}, None, 7]
)
def test_any_body_has_a_reading(body: Any) -> None:
    reading = read_body(json.loads(json.dumps(body)))
    assert not reading.texts and reading.reason


def test_retry_after_is_a_number_or_a_date() -> None:
    assert read_retry_after({"retry-after": "3"}) == 3 and read_retry_after({"retry-after-ms": "250"}) == 0.25
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert read_retry_after({"retry-after": "Fri, 21 Oct 2095 07:28:00 GMT"}) > 1e9
    assert read_retry_after({}) is None and read_retry_after({"retry-after": "soon"}) is None
