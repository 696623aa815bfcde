"""Documents: whether they are what they seem, told without unpacking them."""

from __future__ import annotations

import zipfile
from io import BytesIO

from gateway.assets.media import DOCX, PDF, MediaType
from gateway.errors import InvalidRequest, UnsupportedMedia

MIB = 1024 * 1024
UNPACKED_BYTES = 200 * MIB
"""What all parts of a document may say they unpack to."""
HARMLESS_BYTES = 10 * MIB
"""Whatever unpacks to less is no bomb, however well it was packed."""
RATIO = 200
"""How many times its own size another document may say it unpacks to."""
DIRECTORY_BYTES = MIB
"""Of a zip's table of contents, which has to be read whole: some 15,000 parts."""

ZIP = b"PK\x03\x04"
_PARTS = frozenset({"[Content_Types].xml", "word/document.xml"})
_END, _END_BYTES = b"PK\x05\x06", 22
_END64, _END64_BYTES = b"PK\x06\x07", 20
_COMMENT_BYTES = 0xFFFF
_PDF_END, _PDF_END_BYTES = b"%%EOF", 2048


def document(data: bytes) -> MediaType | None:
    """The type of a whole file that is a zip or a PDF; None for any other.

    UnsupportedMedia for a zip that is no Word document, InvalidRequest `document_too_large` for one that says that it
    unpacks to too much, and `invalid_media` for what is cut or damaged.
    """
    if data.startswith(ZIP):
        _check_docx(data)
        return DOCX
    if data.startswith(b"%PDF-"):
        if _PDF_END not in data[-_PDF_END_BYTES:]:
            raise _damaged(PDF, "its end is missing")
        return PDF
    return None


def _check_docx(data: bytes) -> None:
    _check_directory(data)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
        raise _damaged(DOCX, "its table of contents is damaged") from exc
    if not {part.filename for part in parts} >= _PARTS:
        raise UnsupportedMedia("the file is an archive, not a Word document", code="unsupported_file_type")
    unpacked = sum(part.file_size for part in parts)
    if unpacked > UNPACKED_BYTES or (unpacked > HARMLESS_BYTES and unpacked > RATIO * len(data)):
        raise InvalidRequest(
            f"The document is too large: it unpacks to {unpacked} bytes; at most {UNPACKED_BYTES}, and "
            f"{RATIO} times its own size, are taken.",
            code="document_too_large",
        )


def _check_directory(data: bytes) -> None:
    """Look at how long the table of contents is before anything reads it. Raises what `document` does."""
    at = data.rfind(_END, max(0, len(data) - _END_BYTES - _COMMENT_BYTES))
    if at < 0 or len(data) - at < _END_BYTES:
        raise _damaged(DOCX, "its end is missing")
    if data[max(0, at - _END64_BYTES) :].startswith(_END64):
        raise _damaged(DOCX, "it is written as archives past 4 GiB are")
    if int.from_bytes(data[at + 12 : at + 16], "little") > DIRECTORY_BYTES:
        raise InvalidRequest("The document is too large: it has too many parts.", code="document_too_large")


def _damaged(media_type: MediaType, why: str) -> InvalidRequest:
    return InvalidRequest(f"The file cannot be read as {media_type.mime}: {why}.", code="invalid_media")
