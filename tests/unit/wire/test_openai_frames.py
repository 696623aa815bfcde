from __future__ import annotations

import pytest

from gateway.errors import GatewayError, UpstreamFailed
from gateway.types import Finish, Frame, Paced, Usage
from gateway.wire.openai_frames import PassingFrames

WORDS = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}\n\n'
COMMENT = b": waiting\n\n"


def passing(pause: float | None) -> PassingFrames:
    def refusal(_: bytes) -> GatewayError:
        return UpstreamFailed()

    return PassingFrames(refusal, drop_usage=False, pause=pause)


@pytest.mark.parametrize("first", [WORDS, WORDS + WORDS])
def test_a_pause_is_told_once_after_the_first_frame(first: bytes) -> None:
    frames = passing(7.0)
    assert frames.feed(COMMENT) == []
    assert frames.feed(first) == [Frame(first), Paced(7.0)]
    assert frames.feed(WORDS) == [Frame(WORDS)]
    assert frames.feed(END) == [Frame(END), Usage(input_tokens=3), Finish("stop")]


def test_a_pause_is_told_before_what_the_frame_tells() -> None:
    assert passing(7.0).feed(END) == [Frame(END), Paced(7.0), Usage(input_tokens=3), Finish("stop")]


def test_a_stream_of_one_unfinished_frame_tells_it_at_its_end() -> None:
    assert passing(7.0).end(END.strip())[1] == Paced(7.0)


def test_an_error_first_tells_no_pause() -> None:
    frames = passing(7.0)
    assert frames.feed(b'data: {"error":{"message":"no"}}\n\n') == []
    assert isinstance(frames.failure, UpstreamFailed)


def test_without_a_pause_none_is_told() -> None:
    assert passing(None).feed(WORDS) == [Frame(WORDS)]
    assert passing(None).feed(END)[1:] == [Usage(input_tokens=3), Finish("stop")]
