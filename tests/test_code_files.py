"""Code files: what is damaged is refused by name, with its first bad line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.code_files import guess_release, read_code_file
from icd10cm.errors import CodeFileError


def refuse(path: Path, content: bytes) -> str:
    """Write `content` to `path` and return the message with which it is refused."""
    path.write_bytes(content)
    with pytest.raises(CodeFileError) as caught:
        CodeSet.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))


def test_sound_file_is_read_plain_and_gzip(code_file_lines: list[str], codes: CodeSet, tmp_path: Path) -> None:
    text = "\r\n".join(code_file_lines).encode()
    plain, packed = tmp_path / "icd10cm_codes_2026.txt", tmp_path / "icd10cm_codes_2026.txt.gz"
    plain.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n\r\n")
    packed.write_bytes(gzip.compress(text))
    for path in (plain, packed):
        read = CodeSet.load(path)
        assert read.codes == codes.codes and read.release == "2026" and read.source == str(path)
    assert read_code_file(plain) == read_code_file(packed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ", line 1: the file is empty"),
        (b" \n\n", ", line 1: the file is empty"),
        (
            b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
            ", line 1: not a line of a CMS code file: '<!DOCTYPE html>'",
        ),
        (b"A000    Cholera\n<html>", ", line 2: not a line of a CMS code file: '<html>'"),
        (b"PK\x03\x04\x14\x00\x08\x00" + bytes(range(256)), ", line 1: not a line of a CMS code file: 'PK"),
        (b"A000    Cholera\nA0\n", ", line 2: not a line of a CMS code file: 'A0'"),
        (b"A000    Cholera\n\nA001   \n", ", line 3: not a line of a CMS code file: 'A001'"),
        (b"code,title\nA00.0,Cholera\n", ", line 1: not a line of a CMS code file: 'code,title'"),
        (b"00001 A00     0 Cholera\n", ", line 1: not a line of a CMS order file: '00001 A00     0 Cholera'"),
        (b"A000    Cholera\nA000    Cholera\n", ", line 2: code A00.0 is listed twice"),
        (b"A000    Cholera\n", ", line 1: the file ends after 1 billable codes, at A00.0"),
    ],
)
def test_damaged_file_is_refused_with_its_first_bad_line(tmp_path: Path, content: bytes, message: str) -> None:
    assert refuse(tmp_path / "codes.txt", content).startswith(message)
    packed = refuse(tmp_path / "codes.txt.gz", gzip.compress(content))
    assert packed.startswith(message)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_cut_file_is_refused(code_file_lines: list[str], tmp_path: Path, share: float) -> None:
    kept = code_file_lines[: int(len(code_file_lines) * share)]
    message = refuse(tmp_path / "codes.txt", "\n".join(kept).encode())
    assert re.match(rf", line {len(kept)}: the file ends after {len(kept):,} billable codes", message)
    in_a_code = "\n".join([*kept, code_file_lines[len(kept)][:4]]).encode()
    message = refuse(tmp_path / "codes.txt", in_a_code)
    assert message.startswith(f", line {len(kept) + 1}: not a line of a CMS code file")


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.9, 0.9999])
def test_cut_gzip_is_refused(code_file_lines: list[str], tmp_path: Path, share: float) -> None:
    packed = gzip.compress("\n".join(code_file_lines).encode())
    assert refuse(tmp_path / "codes.txt.gz", packed[: max(2, int(len(packed) * share))]).startswith(": damaged gzip file")


def test_flipped_byte_in_gzip_is_refused(code_file_lines: list[str], tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(code_file_lines).encode())
    for place in range(10, len(packed), len(packed) // 10):
        flipped = packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :]
        assert refuse(tmp_path / "codes.txt.gz", flipped).startswith(": damaged gzip file")


def test_repeated_line_in_a_whole_file_is_named(code_file_lines: list[str], tmp_path: Path) -> None:
    message = refuse(tmp_path / "codes.txt", "\n".join([*code_file_lines[:5000], *code_file_lines[4999:]]).encode())
    assert message.startswith(f", line 5001: code {CodeSet.load().codes[4999]} is listed twice")


def test_genuine_order_file_cut_inside_a_line_is_refused(shared_data: Path, tmp_path: Path) -> None:
    text = gzip.decompress((shared_data / "icd10cm" / "icd10cm_order_2021.txt.gz").read_bytes())
    cut = text[: text.index(b"05000 ") + 40]
    assert refuse(tmp_path / "order.txt", cut).startswith(", line 5000: not a line of a CMS order file: '05000 ")
    cut = text[: int(len(text) * 0.9)].rpartition(b"\n")[0]
    assert "so it is truncated" in refuse(tmp_path / "order.txt", cut)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(CodeFileError, match=rf"^{re.escape(str(path))}: cannot be read \("):
            CodeSet.load(path)


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("icd10cm_codes_2025.txt.gz", "2025"),
        ("icd10cm-order-April-2026.txt", "2026"),
        ("codes.txt", "unknown"),
        ("icd10cm_20251001.txt", "unknown"),
    ],
)
def test_guess_release(name: str, release: str) -> None:
    assert guess_release(Path(name)) == release
