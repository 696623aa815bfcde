"""The accounts of a pool, and their orders by sort of work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.accounts.breaker import Breaker
from gateway.accounts.place import Place, Sort
from gateway.accounts.ready import Rank, Ready
from gateway.accounts.ring import Ring
from gateway.types import Account, Kind

MOST_ORDERS: Final = 64
"""Sorts of work whose order is kept; the least used gives way."""
EVERY_MODEL: Final = ""
"""Stands for all models that every account may use: they have one order together."""


class Places:
    """By account id, in the order of the config."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._gone: dict[str, Place] = {}
        """Left out while leases of theirs were out."""
        self._orders: OrderedDict[tuple[str, Kind, frozenset[str]], Ready] = OrderedDict()
        """By the parts of a `Sort`."""
        self._restricted: set[str] = set()
        """Models that some account may not use."""
        self._sites: dict[tuple[str, str | None], Breaker] = {}
        self._rank: Rank = lambda standing: (standing.turn, 0.0)
        self.ring = Ring()

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, account_id: str) -> bool:
        return account_id in self._places

    def get(self, account_id: str) -> Place | None:
        return self._places.get(account_id)

    @property
    def breakers(self) -> Iterator[Breaker]:
        """One for each site that an account is behind."""
        return iter(self._sites.values())

    def bind(self, accounts: Sequence[Account], rank: Rank) -> list[Place]:
        """These are the accounts from now on. Returns those that have another credential than before."""
        self._rank = rank
        sites, self._sites = self._sites, {}
        places, fresh = {}, []
        for account in accounts:
            site = account.base_url, account.proxy
            breaker = self._sites.setdefault(site, sites.get(site) or Breaker())
            place = self._places.get(account.id) or self._back(account.id)
            if place is None:
                places[account.id] = Place(account, breaker)
                continue
            if (place.account.credential, place.account.base_url) != (account.credential, account.base_url):
                fresh.append(place)
            if place.account is not account:
                place.standing.rebind(place.account, account)
            place.account, place.breaker = account, breaker
            places[account.id] = place
        left = (self._gone | self._places).items()
        self._gone = {id_: place for id_, place in left if id_ not in places and place.standing.in_flight}
        self._places = places
        self._restricted = {
            model for place in self for model in (*place.standing.not_models, *place.standing.off_models)
        }
        self._orders.clear()
        self.ring = Ring(tuple(self))
        return fresh

    def _back(self, account_id: str) -> Place | None:
        """An account that was left out, if leases of it are still out: they count."""
        place = self._gone.get(account_id)
        return place if place is not None and place.standing.in_flight else None

    def restricted(self, place: Place) -> None:
        """An account may not use a model any more, or may again."""
        found = place.standing.off_models - self._restricted
        if found:
            self._restricted |= found
            for key in [key for key in self._orders if key[0] in found]:
                del self._orders[key]

    def ready(self, sort: Sort, now: float, wall: float) -> Ready:
        """The order for a sort of work, up to date."""
        key = sort.model if sort.model in self._restricted else EVERY_MODEL, sort.group, sort.tags
        order = self._orders.get(key)
        if order is None:
            if len(self._orders) >= MOST_ORDERS:
                self._orders.popitem(last=False)
            order = self._orders[key] = Ready(Sort(*key), self, self._rank, now, wall)
        elif len(self._orders) > 1:
            self._orders.move_to_end(key)
        order.wake(now, wall)
        return order

    def touch(self, place: Place, now: float, wall: float) -> None:
        """Something about an account changed. One that is no longer here is in no order."""
        if self._places.get(place.account.id) is place:
            for order in self._orders.values():
                order.touch(place, now, wall)

    def touch_site(self, breaker: Breaker, now: float, wall: float) -> None:
        """Something about a site changed, and so about every account behind it."""
        for place in self:
            if place.breaker is breaker:
                self.touch(place, now, wall)

    def trusted(self, breaker: Breaker, sort: Sort, now: float, wall: float) -> bool:
        """Whether an account behind this site did not fail lately and could be tried, now or when it has a slot."""
        return any(
            place.standing.level(now) == 0
            and ((obstacle := place.own_obstacle(sort, now, wall)) is None or obstacle.why == "busy")
            for place in self
            if place.breaker is breaker
        )

    def next_changes(self, now: float, wall: float) -> list[float]:
        """When time next changes something in each order: now, where it did since somebody looked; monotonic."""
        moments = []
        for order in self._orders.values():
            if order.wake(now, wall):
                moments.append(now)
            elif (moment := order.next_change()) is not None:
                moments.append(moment)
        return moments
