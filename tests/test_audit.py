"""The audit log: whatever is changed in it is found, whatever breaks off is told, and many writers make one chain."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from api_client import read_error, serve_api
from upstream_server import start_upstream

from icd10cm.cli import main
from icd10cm.errors import ConfigError
from serving.audit.command import list_files
from serving.audit.log import AuditError, AuditLog
from serving.audit.records import FIRST, hash_record, read_line, write_line
from serving.audit.secret import hash_request, load_secret
from serving.audit.verify import verify

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of eight records."""
    log = AuditLog(tmp_path / "audit.jsonl")
    for number in range(8):
        log.append(
            "coding",
            {"request_id": f"r{number}", "codes": [{"code": "I10", "confidence": 0.5}], "key": "ward", "abstained": False},
        )
    return tmp_path / "audit.jsonl"


def read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def find_problem(path: Path, lines: list[bytes]) -> str:
    """Return what is found in a log of these lines."""
    changed = path.with_name("changed.jsonl")
    changed.write_bytes(b"".join(lines))
    return verify([changed]).problem


def test_an_untouched_log_is_ok(path: Path) -> None:
    records = [json.loads(line) for line in read_lines(path)]
    assert [record["sequence"] for record in records] == list(range(1, 9))
    assert records[0]["previous"] == FIRST and records[5]["previous"] == records[4]["hash"] == hash_record(records[4])
    assert verify([path]) == (True, 8, records[-1]["hash"], 0, "")
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_field_of_every_line_is_sealed(path: Path) -> None:
    lines = read_lines(path)
    for place, line in enumerate(lines):
        record = json.loads(line)
        forged: list[object] = [{**record, "more": 1}, {key: record[key] for key in list(record)[1:]}, [record]]
        for name, value in record.items():
            others = (value + 1, str(value)) if isinstance(value, int) else (f"{value} ", [value])
            forged += [{**record, name: other} for other in (*others, None)]
        for other in forged:
            problem = find_problem(path, [*lines[:place], write_line(other), *lines[place + 1 :]])
            assert f"line {place + 1}:" in problem, other


def test_every_byte_of_a_line_is_sealed(path: Path) -> None:
    lines = read_lines(path)[:3]
    for place in range(len(lines[1]) - 1):
        flipped = lines[1][:place] + bytes([lines[1][place] ^ 1]) + lines[1][place + 1 :]
        longer = lines[1][:place] + b" " + lines[1][place:]
        for line in (flipped, longer):
            assert "line 2:" in find_problem(path, [lines[0], line, lines[2]])


def test_a_changed_record_with_a_fitting_hash_breaks_the_chain_behind_it(path: Path) -> None:
    lines = read_lines(path)
    forged = json.loads(lines[4]) | {"codes": []}
    forged["hash"] = hash_record(forged)
    problem = find_problem(path, [*lines[:4], write_line(forged), *lines[5:]])
    assert "line 6:" in problem and "exchanged" in problem


def test_removed_repeated_moved_and_inserted_lines_are_named(path: Path) -> None:
    lines = read_lines(path)
    for place in range(8):
        removed = [*lines[:place], *lines[place + 1 :]]
        if place < 7:
            assert f"line {place + 1}:" in (problem := find_problem(path, removed)) and "removed" in problem
        repeated = find_problem(path, [*lines[: place + 1], *lines[place:]])
        assert f"line {place + 2}:" in repeated and "second time" in repeated
        for other in range(place):
            swapped = lines.copy()
            swapped[place], swapped[other] = swapped[other], swapped[place]
            assert f"line {other + 1}:" in find_problem(path, swapped)
        inserted = write_line(json.loads(lines[place]) | {"hash": "0" * 64})
        assert f"line {place + 1}:" in find_problem(path, [*lines[:place], inserted, *lines[place:]])
        assert f"line {place + 1}:" in find_problem(path, [*lines[:place], b"\n", *lines[place:]])


def test_an_end_cut_off_is_found_by_the_head(path: Path) -> None:
    lines = read_lines(path)
    heads = [json.loads(line)["hash"] for line in lines]
    for kept in range(1, 8):
        path.write_bytes(b"".join(lines[:kept]))
        assert verify([path]).ok and verify([path], heads[kept - 1]).ok
        assert "cut off" in verify([path], heads[kept]).problem
    path.write_bytes(b"")
    assert "no record" in verify([path]).problem


def test_a_torn_line_is_kept_and_named(path: Path) -> None:
    lines = read_lines(path)
    for cut in (1, 40, len(lines[-1]) - 2, len(lines[-1]) - 1):
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        assert "torn" in verify([path]).problem
        AuditLog(path).append("coding", {})
        verdict = verify([path])
        assert verdict.ok and verdict.torn == 1 and verdict.n_records == 9, cut
        written = read_lines(path)
        assert written[7] == lines[-1][:cut] + b"\n" and json.loads(written[8])["kind"] == "recovery"
        for changed in (
            [*written[:7], written[7][:-1] + b"x\n", *written[8:]],
            [*written[:7], *written[8:]][:7] + written[9:],
        ):
            assert find_problem(path, changed)
    path.write_bytes(b'{"sequence')
    assert AuditLog(path).append("coding", {}).sequence == 2 and verify([path]).ok


def test_a_last_line_of_another_hand_stops_the_log(path: Path) -> None:
    lines = read_lines(path)
    path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"I10", b"I11")]))
    with pytest.raises(AuditError, match="was changed"):
        AuditLog(path)


@pytest.mark.parametrize("daily", [False, True])
def test_rotated_files_are_one_chain(tmp_path: Path, daily: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", max_bytes=0 if daily else 900, daily=daily)
    for number in range(20):
        if daily and number % 5 == 0 and number:  # as if it had been written yesterday
            log._head = log._head._replace(day="2020-01-01")
        log.append("coding", {"number": number})
    files = list_files(tmp_path)
    assert len(files) >= 4 and files[-1].name == "audit.jsonl"
    whole = verify(files)
    assert whole.ok and whole.n_records == 20 + len(files) - 1
    for place, file in enumerate(files):
        first = json.loads(read_lines(file)[0])
        assert place == 0 or (first["kind"], first["previous_file"]) == ("rotation", files[place - 1].name)
        assert place == 0 or first["previous"] == json.loads(read_lines(files[place - 1])[-1])["hash"]
        assert verify([file]).ok
    assert not verify([*files[:1], *files[2:]]).ok and not verify(files[::-1]).ok
    assert AuditLog(tmp_path / "audit.jsonl").append("coding", {}).sequence == whole.n_records + 1
    (tmp_path / "audit.jsonl").unlink()
    assert AuditLog(tmp_path / "audit.jsonl").append("coding", {}).sequence > 1
    assert verify(list_files(tmp_path)).ok


WRITER = """
import os, sys, threading
from pathlib import Path
from serving.audit.log import AuditLog
log = AuditLog(Path(sys.argv[1]), max_bytes=int(sys.argv[4]))
def write(name):
    for number in range(int(sys.argv[3])):
        written = log.append("coding", {"writer": f"{sys.argv[2]}-{name}", "number": number})
        os.write(1, f"{written.sequence} {written.hash}\\n".encode())
threads = [threading.Thread(target=write, args=(name,)) for name in range(int(sys.argv[5]))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def start_writer(path: Path, name: str, n: int, max_bytes: int = 0, threads: int = 1, **options: object) -> subprocess.Popen:
    words = [sys.executable, "-c", WRITER, str(path), name, str(n), str(max_bytes), str(threads)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_200_writers_in_two_processes_make_one_chain(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path / "audit.jsonl", name, 3, max_bytes=20_000, threads=100) for name in "ab"]
    told = [line.split() for writer in writers for line in writer.communicate(timeout=120)[0].splitlines()]
    files = list_files(tmp_path)
    verdict = verify(files)
    records = [json.loads(line) for file in files for line in read_lines(file)]
    assert verdict.ok and len(files) > 3 and verdict.n_records == 600 + len(files) - 1
    assert {(str(record["sequence"]), record["hash"]) for record in records} >= {tuple(words) for words in told}
    written = [(record["writer"], record["number"]) for record in records if record["kind"] == "coding"]
    assert len(told) == len(set(written)) == len(written) == 600


def test_a_writer_killed_at_random_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    path, seeded = tmp_path / "audit.jsonl", random.Random(4)
    told = []
    for _ in range(5):
        writer = start_writer(path, "x", 100_000, threads=4)
        writer.stdout.readline()
        time.sleep(seeded.uniform(0, 0.1))
        os.kill(writer.pid, signal.SIGKILL)
        told += [
            line.split()[1]
            for line in writer.communicate(timeout=30)[0].splitlines()
            if len(line.split()) == 2 and len(line) > 64
        ]
    AuditLog(path).append("coding", {})
    assert verify([path]).ok and len(told) > 5
    # a torn line may hold a whole hash; only what can be read is a record
    records = [read_line(line.rstrip(b"\n")) for line in read_lines(path)]
    assert {record["hash"] for record in records if not isinstance(record, str)} >= set(told)


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    writer = start_writer(path, "x", 100, preexec_fn=limit)
    out, problem = writer.communicate(timeout=30)
    assert "AuditError" in problem and "cannot be written" in problem
    assert 5 < len(out.splitlines()) < 12 and path.stat().st_size == 2_000
    assert "torn" in verify([path]).problem
    again = start_writer(path, "x", 1, preexec_fn=limit).communicate(timeout=30)
    assert not again[0] and path.stat().st_size == 2_000
    AuditLog(path).append("coding", {})
    verdict = verify([path])
    assert verdict.ok and verdict.torn == 1 and verdict.n_records == len(out.splitlines()) + 2


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        log = AuditLog(tmp_path / "audit.jsonl")
        with pytest.raises(AuditError, match="cannot be written"):
            for number in range(1000):
                log.append("coding", {"number": number})
        with pytest.raises(AuditError, match="cannot be written"):
            log.append("coding", {"padding": "x" * 9000})
        subprocess.run(["mount", "-o", "remount,size=64k", str(tmp_path)], check=True)
        assert log.append("coding", {}).sequence == number + 2 or verify([tmp_path / "audit.jsonl"]).torn
        assert verify([tmp_path / "audit.jsonl"]).ok
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_no_codes_go_out_that_are_not_in_the_log(tmp_path: Path) -> None:
    with start_upstream() as upstream, serve_api(tmp_path / "audit", upstream.url) as api:
        assert api.client.post("/v1/coding", json={"text": "gout"}).status_code == 200
        before = api.audit_file.read_bytes()
        api.audit_file.rename(tmp_path / "kept")
        api.audit_file.mkdir()  # as unwritable as anything, for root too
        reply = api.client.post("/v1/coding", json={"text": "gout"})
        assert reply.status_code == 503 and "audit log" in read_error(reply) and reply.headers["retry-after"] == "30"
        batch = api.client.post("/v1/coding/batch", json={"items": [{"text": "gout"}] * 2}).json()["results"]
        assert [result["status"] for result in batch] == [503, 503] and not any("codes" in result for result in batch)
        lines = api.client.post(
            "/v1/coding/batch", json={"items": [{"text": "gout"}]}, headers={"Accept": "application/x-ndjson"}
        )
        assert json.loads(lines.text)["status"] == 503
        decided = {"request_id": "0" * 32, "decisions": [], "final_codes": []}
        assert api.client.post("/v1/decisions", json=decided).status_code == 503
        assert "icdtune_audit_failures_total 5.0" in api.client.get("/metrics").text
        api.audit_file.rmdir()
        (tmp_path / "kept").rename(api.audit_file)
        assert api.client.post("/v1/coding", json={"text": "gout"}).status_code == 200
        assert api.audit_file.read_bytes().startswith(before) and verify([api.audit_file]).ok


def test_the_command_says_ok_or_which_line(path: Path, capsys: pytest.CaptureFixture) -> None:
    head = json.loads(read_lines(path)[-1])["hash"]
    assert main(["audit", "verify", str(path)]) == 0 and capsys.readouterr().out == f"ok: 8 records, head {head}\n"
    assert main(["audit", "verify", str(path.parent), "--head", head]) == 0
    assert main(["audit", "verify", str(path), "--head", "a" * 64]) == 1 and "cut off" in capsys.readouterr().out
    assert main(["audit", "tail", str(path), "--lines", "2"]) == 0
    assert [json.loads(line)["sequence"] for line in capsys.readouterr().out.splitlines()] == [7, 8]
    path.write_bytes(path.read_bytes().replace(b'"r3"', b'"r4"'))
    assert main(["audit", "verify", str(path)]) == 1 and f"not ok: {path}, line 4: was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["look"], ["verify", "/no/such.jsonl"], ["tail", "/no/such.jsonl"], ["verify", "x", "--head", "abc"]]
)
def test_bad_input_of_the_command_is_one_line(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["audit", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_key_that_hides_requests_is_made_once_and_kept_close(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_secret(tmp_path))) for _ in range(8)]
    run_all(threads)
    file = tmp_path / "audit.key"
    assert len(set(keys)) == 1 and len(keys) == 8 and file.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["audit.key"]
    assert (
        hash_request(keys[0], {"a": 1, "b": "ä"})
        == hash_request(keys[0], {"b": "ä", "a": 1})
        != hash_request(b"x", {"a": 1, "b": "ä"})
    )
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_secret(tmp_path)
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(ConfigError, match="holds no key"):
        load_secret(tmp_path)


def run_all(threads: list[threading.Thread]) -> None:
    act: Callable[[threading.Thread], None]
    for act in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            act(thread)
