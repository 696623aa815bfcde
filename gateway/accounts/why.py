"""Why a pool has no account for a want now: what stands against each, and what to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gateway.accounts.health import Level, Obstacle
from gateway.accounts.place import Place, Sort
from gateway.accounts.places import Places
from gateway.accounts.refusal import none_possible, refusal
from gateway.accounts.waiting import Want
from gateway.errors import Unavailable
from gateway.state.slots import NEVER

PACE_WAIT: Final = 5.0
"""Seconds that a request waits for an account's own rates; what takes longer is told to the caller at once."""


class Why:
    """`full` tells the seconds until the upstream as a whole takes more, 0 where a slot must come back, None where it
    does now. Clocks as those of the pool."""

    def __init__(
        self,
        upstream: str,
        places: Places,
        full: Callable[[], float | None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._upstream = upstream
        self._places = places
        self._full = full
        self._clock = clock
        self._wall = wall

    def hopeful(self, want: Want) -> bool:
        """Whether a slot is all that is missing."""
        return self.better(want) or (not want.trusted and self._hopeful(want, 2))

    def better(self, want: Want) -> bool:
        """Whether a slot is all that is missing at an account that does not fail over and over."""
        return self._hopeful(want, 0 if want.trusted else 1)

    def outlasts(self, place: Place, sort: Sort) -> bool:
        """Whether what stands against an account outlasts any wait for a slot."""
        return not _brief(place.obstacle(sort, self._clock(), self._wall()))

    def soonest(self, want: Want) -> float | None:
        """Seconds until an account could take it: 0 where one could now or is merely busy, None for never."""
        obstacles = self._obstacles(want, self._most(want))
        seconds = min((obstacle.seconds if obstacle else 0.0 for obstacle in obstacles), default=NEVER)
        return None if seconds >= NEVER else seconds

    def refusal(self, want: Want, ahead: int, eta: float | None) -> Unavailable:
        """The error to tell. `ahead`: how many wait before this one; `eta`: seconds until it would have a slot."""
        obstacles = [obstacle for obstacle in self._obstacles(want, self._most(want)) if obstacle is not None]
        if obstacles:
            error: Unavailable = refusal(want.sort.model, obstacles, ahead=ahead, eta=eta)
        else:
            tried = len(self._places) if want.only is None else int(want.only in self._places)
            error = none_possible(want.sort.model, self._upstream, only=want.only, tried=tried)
        error.upstream = self._upstream
        return error

    def _hopeful(self, want: Want, most: Level) -> bool:
        return any(map(_brief, self._obstacles(want, most)))

    def _most(self, want: Want) -> Level:
        """Whom it is left to: those who fail over and over serve where nobody better could."""
        return 0 if want.trusted else 1 if self.better(want) else 2

    def _obstacles(self, want: Want, most: Level) -> Iterator[Obstacle | None]:
        """What stands against each account that could be meant."""
        now, wall, full = self._clock(), self._wall(), self._full()
        for place in self._places if want.only is None else self._only(want.only):
            if place.account.id in want.exclude:
                continue
            obstacle = place.obstacle(want.sort, now, wall, want.tokens)
            if obstacle is None or obstacle.why == "busy":
                if want.only is None and place.standing.level(now) > most:
                    obstacle = Obstacle("failing", place.standing.level_from(most) - now)
                elif full is not None:
                    obstacle = Obstacle("busy", full)
            yield obstacle

    def _only(self, account_id: str) -> list[Place]:
        place = self._places.get(account_id)
        return [] if place is None else [place]


def _brief(obstacle: Obstacle | None) -> bool:
    """Whether it is worth waiting for: a slot, or what rates let through soon."""
    return obstacle is None or obstacle.why == "busy" or (obstacle.why == "paced" and obstacle.seconds <= PACE_WAIT)
