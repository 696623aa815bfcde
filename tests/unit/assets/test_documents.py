"""Documents are what they seem, or are refused, and nothing of them is unpacked for that."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile

import pytest

from gateway.assets.documents import DIRECTORY_BYTES, MIB, document
from gateway.assets.media import DOCX, PDF
from gateway.errors import GatewayError
from tests.unit.assets.samples import archive, docx, pdf

TYPES, WORDS = "[Content_Types].xml", "word/document.xml"


def refused(data: bytes) -> tuple[int, str]:
    with pytest.raises(GatewayError) as told:
        document(data)
    return told.value.status, told.value.code


def saying(data: bytes, name: str, size: int) -> bytes:
    """An archive whose table of contents says that a part unpacks to so many bytes."""
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    return data[: at + 24] + struct.pack("<I", size) + data[at + 28 :]


def test_documents_are_known() -> None:
    assert document(docx()) is DOCX
    assert document(pdf()) is PDF
    assert document(b"words") is None
    assert document(b"") is None


def test_the_parts_may_come_in_any_order() -> None:
    assert document(docx(**{"docProps/thumbnail.jpeg": bytes(range(256)) * 64})) is DOCX


@pytest.mark.parametrize(
    "parts", [{"a.txt": "x"}, {WORDS: "<x/>"}, {TYPES: "<x/>"}, {TYPES: "<x/>", "xl/workbook.xml": "<x/>"}]
)  # fmt: skip
def test_another_archive_is_no_document(parts: dict[str, str | bytes]) -> None:
    assert refused(archive(parts)) == (415, "unsupported_file_type")


@pytest.mark.parametrize("keep", [4, 60, 0.5, -1, -22])
def test_a_cut_document_is_refused(keep: float) -> None:
    data = docx()
    cut = data[: int(len(data) * keep)] if isinstance(keep, float) else data[:keep]
    assert refused(cut) == (400, "invalid_media")


def test_a_damaged_table_of_contents_is_refused() -> None:
    data = docx()
    at = data.index(b"PK\x01\x02")
    assert refused(data[:at] + b"PK\x01\x03" + data[at + 4 :]) == (400, "invalid_media")


def test_a_pdf_has_an_end() -> None:
    assert refused(pdf()[:-20]) == (400, "invalid_media")
    assert document(pdf() + b"\0" * 1000) is PDF
    assert refused(pdf() + b"\0" * 4000) == (400, "invalid_media")


# --- bombs ---


def test_a_document_may_unpack_to_200_mib_and_no_more() -> None:
    filled = docx(**{"word/media/a.jpg": random.Random(1).randbytes(2 * MIB)})
    assert document(saying(filled, WORDS, 197 * MIB)) is DOCX
    assert refused(saying(filled, WORDS, 198 * MIB)) == (400, "document_too_large")


def test_a_small_document_that_says_it_unpacks_to_much_is_refused() -> None:
    """10 MiB are nobody's bomb; past that, 200 times its own size is too much."""
    data = docx()
    assert document(saying(data, WORDS, 9 * MIB)) is DOCX
    assert refused(saying(data, WORDS, 11 * MIB)) == (400, "document_too_large")


def test_many_parts_count_together() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(TYPES, "<x/>")
        for number in range(30):
            file.writestr(f"word/{number}.xml", b"\0" * MIB)
        file.writestr(WORDS, "<x/>")
    assert refused(out.getvalue()) == (400, "document_too_large")


def many_parts() -> bytes:
    """A document whose table of contents is past the limit, though nothing in it is large."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for number in range(DIRECTORY_BYTES // 50):
            file.writestr(zipfile.ZipInfo(f"word/{number:06}.xml"), b"")
        file.writestr(TYPES, "<x/>")
        file.writestr(WORDS, "<x/>")
    return out.getvalue()


def test_a_long_table_of_contents_is_not_read() -> None:
    data = many_parts()
    tracemalloc.start()
    assert refused(data) == (400, "document_too_large")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MIB


def test_a_longer_table_cannot_be_named_beside_the_one_that_is_looked_at() -> None:
    """As archives past 4 GiB do, whose readers go by it."""
    data = many_parts()
    at = data.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", data[at + 10 : at + 20])
    beyond = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    beyond += struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    small = data[at : at + 12] + struct.pack("<II", 100, start) + data[at + 20 :]
    whole = data[:at] + beyond + small
    assert len(zipfile.ZipFile(io.BytesIO(whole)).infolist()) == count
    assert refused(whole) == (400, "invalid_media")
