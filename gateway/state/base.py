"""The contract of what carries texts between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Bus(Protocol):
    """Tells other processes of something at once. It may lose any of it, or say it twice: who must know looks as well,
    only less often.
    """

    @property
    def connected(self) -> bool:
        """Whether what others publish is heard here, promptly, and has been for a moment."""

    def publish(self, topic: str) -> None:
        """Tell the other processes. Never waits and never fails."""

    async def run(self, heard: Callable[[str], None]) -> None:
        """Carry topics both ways until cancelled. `heard` gets those of other processes, not one's own."""

    async def close(self) -> None:
        """Say what is still to be said, if that is quick, and let go of everything. Called when `run` has ended."""
