"""Large CSV tables in DuckDB, out of core; what is wrong with one is said without showing a line of it."""

from __future__ import annotations

import csv
import errno
import gzip
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
import pyarrow.csv
from tqdm import tqdm

from icd10cm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LONGEST_LINE = 2 * 1024 * 1024
_FETCHED = 5000
_READ, _BLOCK = 1 << 24, 1 << 23
_NO_ROOM = re.compile(r"no space left|disk quota|max_temp_directory_size|could not write|file too large", re.IGNORECASE)


@contextmanager
def open_tables(folder: Path, memory_limit: str, threads: int) -> Iterator[DuckDBPyConnection]:
    """Open a database in `folder`, which also takes what does not fit into memory; both go with the folder."""
    import duckdb

    given: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": str(folder / "spill"),
    }
    connection = duckdb.connect(str(folder / "tables.duckdb"), config=given | ({"threads": threads} if threads else {}))
    try:
        # progress is counted only when a bar is wanted; ours is drawn by `show_progress`
        connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        yield connection
    except RuntimeError as error:
        # what DuckDB makes of a Ctrl-C that comes while it runs a query
        if "Query interrupted" in str(error):
            raise KeyboardInterrupt from None
        raise
    finally:
        connection.close()


def find_table(folder: Path, place: str, name: str, required: bool = True) -> Path | None:
    """Return `name`.csv.gz or .csv in `folder`/`place` or in `folder` itself. Raises `DataError` where a required one isn't."""
    paths = [base / f"{name}{ending}" for base in (folder / place, folder) for ending in (".csv.gz", ".csv")]
    found = next((path for path in paths if path.is_file()), None)
    if found is None and required:
        what = "MIMIC-IV-Note, set note_folder where it lies elsewhere" if place == "note" else "MIMIC-IV"
        raise DataError(f"{paths[0]}: no such file, nor {paths[1].name} or one in {folder} itself; it is part of {what}")
    return found


def read_columns(path: Path) -> list[str]:
    """Return the column names of a CSV file, plain or gzip. Raises `DataError`."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(_LONGEST_LINE).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as {_name_kind(path)} ({type(error).__name__}); download it again") from None
    return [name.strip() for name in next(csv.reader([line]), [])]


def check_columns(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a file that lacks a column or ends inside quotes. Raises `DataError`."""
    absent = [name for name in wanted if name not in columns]
    if absent:
        raise DataError(f"{path}: has no column {', '.join(absent)}; found {', '.join(columns)[:200]}")
    check_end(path)


def check_end(path: Path) -> None:
    """Refuse a plain CSV file that ends inside quotes: no reader says a word of its last row. Raises `DataError`."""
    if path.suffix == ".gz":
        return
    quotes = 0
    with path.open("rb") as file:
        while block := file.read(_READ):
            quotes += block.count(b'"')
    if quotes % 2:
        raise DataError(f"{path}: ends inside a quoted text; the file is cut short: copy or download it again")


def write_scan(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
    """Return SQL that reads a CSV file with every column as text. Raises `DataError` where a wanted column is missing.

    The parallel reader takes a line end inside quotes for the end of a row when a part of the file begins there, and notes
    are full of them; so one thread reads.
    """
    check_columns(path, columns, wanted)
    types = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in columns)
    return (
        f"read_csv({quote(str(path))}, auto_detect=false, header=true, delim=',', quote='\"', escape='\"', nullstr='', "
        f"parallel=false, max_line_size={_LONGEST_LINE}, columns={{{types}}})"
    )


def read_batches(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the wanted columns of a CSV file as text, 8 MB at a time; what is blank is null.

    Arrow reads texts of many lines in bounded memory; DuckDB's reader keeps all of a compressed file (1.3 GB of a 3 GB one)
    before it gives up.

    Raises:
        DataError: a column is missing, the file is cut short or not UTF-8, or a row has not the columns of the first line.
    """
    check_columns(path, columns, wanted)
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=list(wanted),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    try:
        yield from pa.csv.open_csv(
            path,
            # with several threads rows would not be named in errors
            read_options=pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=convert,
        )
        return
    except pa.ArrowInvalid as error:
        message = str(error)
    except OSError as error:
        message = str(error)
        if "compressed" not in message and "zlib" not in message.lower():
            raise
    _explain(path, message)


def quote(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn what DuckDB says of a file into one line without the content that DuckDB shows.

    Raises:
        DataError: the file is cut short, not gzip, not UTF-8, or has a line that is no row.
        ConfigError: the memory limit is too small.
        OSError: the disk is full.
    """
    import duckdb

    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise
    except duckdb.Error as error:
        message = str(error)
    else:
        return
    # outside of `except`, so that no traceback can show the line either
    if _NO_ROOM.search(message):
        raise OSError(errno.ENOSPC, "no room left on the disk", "the output folder")
    if "out of memory" in message.lower():
        raise ConfigError(f"{path}: the tables need more than 'memory_limit'; raise it, to 3GB for one")
    if "INTERRUPT" in message:
        raise KeyboardInterrupt
    _explain(path, message)


def _explain(path: Path, message: str) -> NoReturn:
    """Say what a reader of CSV says, without the row that it shows."""
    if re.search(r"gzip|compressed|zlib", message, re.IGNORECASE):
        raise DataError(f"{path}: not a whole gzip file (cut short or damaged); download it again")
    # DuckDB counts rows, whatever it calls them: a note has many lines
    row = re.search(r"(?:CSV Error on Line: |Row #)(\d+)", message)
    where = f"{path}, row {row[1]}" if row else f"{path}"
    kind = "not UTF-8" if re.search(r"unicode|utf-?8", message, re.IGNORECASE) else "no row with the columns of the first line"
    if row or "csv" in message.lower() or kind == "not UTF-8":
        raise DataError(f"{where}: {kind}; the file is damaged or was saved by another program: take it as it was published")
    raise DataError(f"{path}: cannot be read ({message.split(':')[0][:40]}); take the file as it was published")


def fetch_rows(connection: DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query without holding all of them."""
    cursor = connection.execute(query)
    while rows := cursor.fetchmany(_FETCHED):
        yield from rows


def fetch_one(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the one row of a query."""
    row = connection.execute(query).fetchone()
    assert row is not None, query
    return row


@contextmanager
def show_progress(connection: DuckDBPyConnection, what: str) -> Iterator[None]:
    """Show a bar for the query that runs meanwhile."""
    done = threading.Event()

    def follow() -> None:
        with tqdm(total=100, desc=what, unit="%", delay=2, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}") as bar:
            while not done.wait(0.5):
                bar.update(max(0, min(100, connection.query_progress()) - bar.n))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _name_kind(path: Path) -> str:
    return "gzip" if path.suffix == ".gz" else "text"
