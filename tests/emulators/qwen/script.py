"""What the site shall say, and what shall go wrong."""

from dataclasses import dataclass, field
from typing import Any

from tests.emulators.qwen.replies import HTML


@dataclass
class Answer:
    """What the site says to a t2t turn."""

    text: str = "Hello from the site."
    think: str = ""
    """Detailed thoughts; told where the turn asked for thinking, in the format it asked for."""
    titles: tuple[str, ...] = ("Thinking",)
    pieces: int = 4
    """How many deltas the text comes in."""
    usage: dict[str, Any] = field(default_factory=lambda: {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18})
    finished: bool = True
    done: str = ""
    """A last line: `[DONE]` or `completed`."""
    phaseless: bool = False
    split: int = 0
    """Send the stream in pieces of so many bytes; 0: a frame at once."""
    pause: float = 0.0
    """Seconds between two frames."""
    linger: float = 0.0
    """Seconds for which the stream stays open after its end."""


@dataclass
class Picture:
    """What the site says to a t2i or image_edit turn."""

    count: int = 1
    phase: str | None = "image_gen"
    pieces: int = 3
    """Deltas that the glued URLs are cut into."""
    keep_alives: int = 2
    echo: bool = False
    """Name the first input before the result."""
    words: str = ""
    """Words in the phase `answer`, after the images."""
    listed: bool = False
    """Name the images in `extra.image_list` and not in the content."""
    lost: bool = False
    """The stream names no image; the conversation does."""


@dataclass
class Fault:
    """Something that goes wrong once."""

    kind: str
    code: str = ""
    details: str = ""
    num: Any = None
    status: int = 200
    actual: int | None = None
    shape: str = "data"
    """How a failure within a stream looks: `data`, `text` or `object`."""
    after: int = 0
    """How many data frames of the stream come before it."""
    seconds: float = 0.0
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer carries besides."""

    @classmethod
    def html(cls, status: int = 200) -> "Fault":
        return cls("raw", body=HTML.encode(), content_type="text/html; charset=utf-8", status=status)

    @classmethod
    def raw(cls, body: bytes, content_type: str = "application/json", status: int = 200) -> "Fault":
        return cls("raw", body=body, content_type=content_type, status=status)

    @classmethod
    def api(
        cls, code: str, details: str = "", num: Any = None, status: int = 200, actual: int | None = None
    ) -> "Fault":
        return cls("api", code, details, num, status, actual)

    @classmethod
    def rate_limited(cls, hours: Any = None) -> "Fault":
        return cls.api("RateLimited", "You've reached the upper limit for today's usage.", hours)

    @classmethod
    def throttled(cls) -> "Fault":
        return cls.api("Throttled", "Allocated quota exceeded, please increase your quota limit.", status=429)

    @classmethod
    def in_stream(cls, code: str, details: str, shape: str = "data", after: int = 0) -> "Fault":
        return cls("in_stream", code, details, shape=shape, after=after)

    @classmethod
    def cut(cls, after: int | None = None) -> "Fault":
        """The connection breaks: before an answer or, with `after`, so many frames into a stream."""
        return cls("cut") if after is None else cls("cut_stream", after=after)

    @classmethod
    def silence(cls, after: int | None = None) -> "Fault":
        return cls("silence") if after is None else cls("silent_stream", after=after)

    @classmethod
    def slow(cls, seconds: float) -> "Fault":
        return cls("slow", seconds=seconds)

    @classmethod
    def no_task_id(cls, *, in_chat: bool = True) -> "Fault":
        """The answer to a create names no task; the conversation does, or not."""
        return cls("no_task_id", details="" if in_chat else "nowhere")

    @classmethod
    def cut_after_create(cls) -> "Fault":
        """The task is made, and the connection breaks before anybody hears of it."""
        return cls("cut_after_create")
