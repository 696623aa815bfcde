"""multipart/form-data into counted memory. Nothing touches the disk, and what is broken or cut is refused.

The bytes are split by python-multipart's own parser. Its form reader is not used: it spools to disk past 1 MB and takes
a body that ends before its closing boundary for a complete one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import InvalidRequest, TooLarge, UnsupportedMedia

MIB = 1024 * 1024
FILENAME_BYTES = 255

_PREAMBLE_BYTES = 1024
"""Of empty lines before the first boundary."""
_HEADERS = 16
"""Header lines in a part: three are ever needed."""
_CONTENT_TYPE_BYTES = 1024
_EXTENSION_BYTES = 16

_BOUNDARY = re.compile(rb"[!-~](?:[ -~]{0,198}[!-~])?")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_EXTENDED_NAME = re.compile(rb";[ \t]*filename\*[ \t]*=[ \t]*(utf-8|iso-8859-1)'[^';]*'([^;\s]*)", re.IGNORECASE)
_MIME = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_UNWANTED = str.maketrans(dict.fromkeys('<>:"|?*', "_"))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a form is taken."""

    file_bytes: int = 25 * MIB
    """Of one file: exactly as many pass."""
    field_bytes: int = MIB
    """Of one text field."""
    header_bytes: int = 8 * 1024
    """Of all headers of one part."""
    parts: int = 64
    total_bytes: int = 32 * MIB
    """Of the whole body."""


@dataclass(frozen=True, slots=True)
class Field:
    """A text field."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file as sent."""

    name: str
    """Of the form's field."""
    filename: str
    """For showing only: see `safe_filename`."""
    content_type: str
    """What the sender claims, without parameters; empty if nothing usable."""
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """A whole form, in the order it was sent."""

    fields: tuple[Field, ...]
    files: tuple[FilePart, ...]

    def value(self, name: str) -> str | None:
        """The first text field of that name."""
        return next((one.value for one in self.fields if one.name == name), None)

    def file(self, name: str) -> FilePart | None:
        """The first file of that name."""
        return next((one for one in self.files if one.name == name), None)


async def parse(content_type: str | None, chunks: AsyncIterable[bytes], limits: Limits) -> Form:
    """Read a form to its end.

    TooLarge as soon as a limit of bytes is passed, without reading on; UnsupportedMedia for another content type;
    InvalidRequest `incomplete_upload` for a body that ends early and `invalid_multipart` for one that is malformed.
    """
    reader = _Reader(_boundary(content_type), limits)
    async for chunk in chunks:
        reader.feed(chunk)
    return reader.form()


def _boundary(content_type: str | None) -> bytes:
    if content_type is None or not content_type.strip().lower().startswith("multipart/form-data"):
        raise UnsupportedMedia("The body must be multipart/form-data.")
    if len(content_type) > _CONTENT_TYPE_BYTES or not content_type.isascii():
        raise _malformed("its boundary is not usable")
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise _malformed("its content type names no usable boundary")
    return bytes(boundary)


class _Reader:
    """The parser's callbacks, and what they have gathered so far."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self._limits = limits
        self._fields: list[Field] = []
        self._files: list[FilePart] = []
        self._part = _Part(limits)
        self._parts = self._total = self._before = 0
        self._begun = self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": lambda data, start, end: self._part.header_name(data[start:end]),
                "on_header_value": lambda data, start, end: self._part.header_value(data[start:end]),
                "on_header_end": lambda: self._part.header_end(),
                "on_headers_finished": lambda: self._part.describe(),
                "on_part_data": lambda data, start, end: self._part.write(memoryview(data)[start:end]),
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_count=_HEADERS,
            max_header_size=limits.header_bytes,
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body, cut anywhere."""
        self._total += len(chunk)
        if self._total > self._limits.total_bytes:
            raise TooLarge(f"The request is larger than {_size(self._limits.total_bytes)}.")
        if not self._begun:
            chunk = self._preamble(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise _malformed("its parts cannot be told apart") from exc

    def form(self) -> Form:
        """What was read, once the body is over."""
        if not self._ended:
            raise InvalidRequest(
                "The upload ended before its closing boundary.", code="incomplete_upload", advice="Send it again."
            )
        return Form(tuple(self._fields), tuple(self._files))

    def _preamble(self, chunk: bytes) -> bytes:
        """Skip empty lines here: the parser would also skip text after them, but only up to the end of a chunk."""
        rest = chunk.lstrip(b"\r\n")
        self._before += len(chunk) - len(rest)
        if self._before > _PREAMBLE_BYTES:
            raise _malformed("it does not begin with a boundary")
        self._begun = bool(rest)
        return rest

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise _malformed(f"it has more than {self._limits.parts} parts")
        self._part = _Part(self._limits)

    def _part_end(self) -> None:
        finished = self._part.finished()
        if isinstance(finished, FilePart):
            self._files.append(finished)
        else:
            self._fields.append(finished)

    def _end(self) -> None:
        self._ended = True


class _Part:
    """One part while it is read."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._name = self._value = b""
        self._field = ""
        self._filename: bytes | None = None
        self._size = 0
        self._data = BytesIO()  # gives its bytes away without a copy

    def header_name(self, data: bytes) -> None:
        self._count_header(len(data))
        self._name += data

    def header_value(self, data: bytes) -> None:
        self._count_header(len(data))
        self._value += data

    def header_end(self) -> None:
        name = self._name.lower()
        if name in self._headers:
            raise _malformed("a part has the same header twice")
        self._headers[name] = self._value
        self._name = self._value = b""

    def describe(self) -> None:
        """Read the headers, now that they are complete."""
        disposition = self._headers.get(b"content-disposition", b"")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise _malformed("a part has no content-disposition with a name")
        self._field = _text(options[b"name"], "a field's name")
        if not self._field.isprintable():
            raise _malformed("a field's name has control characters")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"7bit", b"8bit", b"binary"):
            raise _malformed("a part has a content-transfer-encoding")
        self._filename = options[b"filename"] if b"filename" in options else _extended_filename(disposition)

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        if self._filename is None and self._size > self._limits.field_bytes:
            raise TooLarge(
                f"The field {self._field!r} is larger than {_size(self._limits.field_bytes)}.", param=self._field
            )
        if self._filename is not None and self._size > self._limits.file_bytes:
            raise TooLarge(
                f"The file is larger than {_size(self._limits.file_bytes)}.", code="file_too_large", param=self._field
            )
        self._data.write(data)

    def finished(self) -> Field | FilePart:
        data = self._data.getvalue()
        if self._filename is None:
            return Field(self._field, _text(data, f"the field {self._field!r}"))
        claimed, _ = parse_options_header(self._headers.get(b"content-type", b""))
        mime = claimed.decode("latin-1")
        return FilePart(self._field, safe_filename(self._filename), mime if _MIME.fullmatch(mime) else "", data)

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._limits.header_bytes:
            raise _malformed(f"the headers of a part are larger than {_size(self._limits.header_bytes)}")


def safe_filename(raw: str | bytes | None) -> str:
    """A name that can be shown and saved anywhere: no path, nothing invisible, at most 255 bytes of UTF-8.

    It never names anything in our storage. What leaves nothing is called `file`.
    """
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw or ""
    last = text.replace("\\", "/").rpartition("/")[2]
    seen = "".join(one for one in last if one == " " or unicodedata.category(one)[0] not in "CZ")
    name = unicodedata.normalize("NFC", seen).translate(_UNWANTED).strip(". ")
    if _RESERVED.match(name):
        name = f"_{name}"
    return _shortened(name) or "file"


def _shortened(name: str) -> str:
    """Cut in the middle of a long name, so that its extension stays."""
    if len(name.encode()) <= FILENAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > _EXTENSION_BYTES:
        stem, dot, extension = name, "", ""
    room = FILENAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + dot + extension


def _extended_filename(disposition: bytes) -> bytes | None:
    """`filename*` (RFC 5987). Forms should not send it; where one does, a plain `filename` beside it goes first."""
    found = _EXTENDED_NAME.search(_QUOTED.sub(b'""', disposition))
    if found is None:
        return None
    value = unquote_to_bytes(found[2])
    return value if found[1].lower() == b"utf-8" else value.decode("latin-1").encode()


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise _malformed(f"{what} is not valid UTF-8") from exc


def _size(count: int) -> str:
    return f"{count // MIB} MiB ({count} bytes)" if count >= MIB and count % MIB == 0 else f"{count} bytes"


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"The multipart body cannot be read: {why}.", code="invalid_multipart")
