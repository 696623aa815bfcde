"""What the site keeps: requests as they came, and what its accounts hold."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Recorded:
    """A request as it came."""

    operation: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    """Decoded JSON, or bytes."""
    account: str | None


@dataclass
class Chat:
    id: str
    responses: list[str] = field(default_factory=list)
    """Ids of its answers: what a next turn may name as its parent."""
    busy: bool = False
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Task:
    id: str
    chat_type: str
    script: deque[Any]
    url: str


@dataclass
class Person:
    """An account."""

    name: str
    token: str
    chats: dict[str, Chat] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    videos_left: int = 3
    expired: bool = False
