import time
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamGarbled
from gateway.sse import FrameBuffer, ServerEvent, events, frames, parse

pytestmark = pytest.mark.anyio

LINES = st.sampled_from(
    [
        "data: {}",
        "data:x",
        "data: a\u2028b\u0085c\x0b\x0c",
        "data",
        "data: ünï 🎈",
        "event: error",
        "id: 7",
        "retry: 3",
        ": comment",
        "",
        "",
        "",
    ]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=30).map(lambda lines: "".join(map("".join, lines)).encode())


async def pieces(found: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in found:
        yield piece


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    at = sorted(place % (len(stream) + 1) for place in places)
    return [stream[start:end] for start, end in zip([0, *at], [*at, len(stream)], strict=True)]


async def read(found: Iterable[bytes]) -> list[ServerEvent]:
    return [event async for event in events(pieces(found))]


def reference(stream: bytes) -> list[ServerEvent]:
    """The standard's own way, slowly: line by line."""
    found: list[ServerEvent] = []
    data: list[bytes] = []
    event = ""
    for line in [*stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            event = value.decode()
        elif not line:
            if data:
                found.append(ServerEvent(b"\n".join(data), event))
            data, event = [], ""
    return found


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=2000)))
async def test_however_a_stream_is_cut_its_events_are_the_same(stream: bytes, places: list[int]) -> None:
    assert await read(cut(stream, places)) == reference(stream)


@given(STREAMS)
async def test_a_stream_cut_at_every_byte_has_the_same_events(stream: bytes) -> None:
    assert await read(stream[at : at + 1] for at in range(len(stream))) == reference(stream)


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=2000)))
async def test_frames_are_whole_and_lose_nothing(stream: bytes, places: list[int]) -> None:
    found = [frame async for frame in frames(pieces(cut(stream, places)))]
    assert all(frame.endswith(b"\n\n") and b"\r" not in frame for frame in found)
    assert [event for frame in found for event in parse(frame)] == reference(stream)


@given(st.binary(), st.lists(st.integers(min_value=0, max_value=2000)))
async def test_any_bytes_at_all_are_read_the_same_however_cut(stream: bytes, places: list[int]) -> None:
    assert await read(cut(stream, places)) == await read([stream])


async def test_a_frame_goes_out_as_soon_as_it_is_whole() -> None:
    buffer = FrameBuffer()
    assert buffer.feed(b"data: a\r\n") == b""
    assert buffer.feed(b"\r") == b"data: a\n\n"
    assert buffer.feed(b"\ndata: b\n\ndata: c") == b"data: b\n\n"
    assert buffer.rest() == b"data: c"


async def test_text_is_not_cut_at_the_line_breaks_of_unicode() -> None:
    said = '{"text":"a\u2028b\u2029c\u0085d\x0be\x1cf"}'.encode()
    assert [event.data for event in await read([b"data: " + said + b"\n\n"])] == [said]


async def test_a_byte_order_mark_is_passed_over() -> None:
    assert await read([b"\xef\xbb", b"\xbfdata: a\n\n"]) == [ServerEvent(b"a")]


async def test_a_last_event_without_its_blank_line_counts() -> None:
    assert await read([b"data: a\n\ndata: b"]) == [ServerEvent(b"a"), ServerEvent(b"b")]


async def test_an_event_that_never_ends_is_refused_in_linear_time() -> None:
    buffer, piece = FrameBuffer(), b"x" * 1460
    begun = time.process_time()
    with pytest.raises(UpstreamGarbled):
        for _ in range(8 * 1024 * 1024 // len(piece) + 2):
            buffer.feed(piece)
    assert time.process_time() - begun < 0.2


async def test_a_huge_event_in_small_pieces_is_read_in_linear_time() -> None:
    payload = b"data: " + b"x" * (7 * 1024 * 1024) + b"\r\n\r\n"
    small = [payload[at : at + 1460] for at in range(0, len(payload), 1460)]
    begun = time.process_time()
    (event,) = await read(small)
    assert time.process_time() - begun < 0.5
    assert len(event.data) == 7 * 1024 * 1024
