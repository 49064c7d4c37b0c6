"""Read a file as CMS publishes it, plain or gzip, and say in one line what is wrong with it."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path
from xml.etree.ElementTree import Element

from icd10cm.errors import CodeFileError


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked when it is gzip. Raises `CodeFileError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CodeFileError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise CodeFileError(f"{path}: damaged gzip file ({error}); download it again") from None


def read_xml(path: Path, ending: str, what: str) -> Element:
    """Return the root of an XML file of CMS.

    Args:
        path: plain or gzip.
        ending: end of the root element's name, such as `.tabular`.
        what: what such a file is called.

    Raises:
        CodeFileError: the file is missing, damaged, no XML, or another XML.
    """
    raw = read_bytes(path)
    try:
        root = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise CodeFileError(f"{path}: not well-formed XML ({error}); give {what} of CMS in XML, plain or gzip") from None
    if not root.tag.endswith(ending):
        raise CodeFileError(f"{path}: not {what}: the root element is <{root.tag}>, expected <ICD10CM{ending}>")
    return root
