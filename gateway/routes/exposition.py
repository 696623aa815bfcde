"""A reading of the house in the text format of Prometheus.

Label values are bounded: accounts and upstreams are those configured, models and codes those that `usage` keeps apart.
None comes from a caller.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.accounts.breaker import BreakerState
from gateway.accounts.status import Status
from gateway.routes.alarms import AlarmCode, UpstreamState
from gateway.routes.metrics import Reading
from gateway.usage import BOUNDS, Sort, Sums

MEASURES: tuple[tuple[str, str, Callable[[Sums], float]], ...] = (
    ("attempts", "Attempts at accounts", lambda sums: sums.attempts),
    ("input_tokens", "Tokens read", lambda sums: sums.input_tokens),
    ("output_tokens", "Tokens written", lambda sums: sums.output_tokens),
    ("images", "Images made", lambda sums: sums.images),
    ("media_seconds", "Seconds of video and sound made", lambda sums: sums.media_seconds),
)
BUCKETS = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


def rendered(reading: Reading) -> bytes:
    """The metrics of a reading and of the process, from a registry of their own."""
    registry = CollectorRegistry()
    registry.register(_Exposition(reading))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Exposition(Collector):
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        yield from _house(self._reading)
        yield from _upstreams(self._reading.upstreams)
        yield from _accounts(self._reading.upstreams)
        yield from _requests(self._reading.sums)
        yield from _work(self._reading.sums)


def _house(reading: Reading) -> Iterator[Metric]:
    yield InfoMetricFamily("mediagate", "The gateway that runs", {"version": __version__})
    yield GaugeMetricFamily("mediagate_uptime_seconds", "Since it was opened", reading.uptime)
    yield GaugeMetricFamily("mediagate_draining", "1 while it shuts down", reading.draining)
    yield GaugeMetricFamily("mediagate_requests_under_way", "Requests being answered, this one too", reading.live)
    counted = Counter(alarm.code for alarm in reading.alarms)
    known = get_args(AlarmCode)
    yield _gauge("mediagate_alarms", "As GET /api/status tells them", "code", ((code, counted[code]) for code in known))
    yield GaugeMetricFamily("mediagate_usage_rows_waiting", "Rows of usage to be written", reading.usage_waiting)
    yield CounterMetricFamily("mediagate_usage_rows_dropped", "Rows that found no room to wait", reading.usage_dropped)
    yield GaugeMetricFamily("mediagate_database_up", "Whether it tells of tasks", reading.tasks is not None)
    if reading.tasks is not None:
        yield _gauge("mediagate_tasks", "Open tasks of all processes", "state", reading.tasks.items())


def _upstreams(upstreams: Sequence[UpstreamState]) -> Iterator[Metric]:
    standing = GaugeMetricFamily("mediagate_accounts", "Accounts by standing", labels=("upstream", "status"))
    breaker = GaugeMetricFamily("mediagate_breaker", "1 for the state it is in", labels=("upstream", "state"))
    for upstream in upstreams:
        counted = Counter(account.status for account in upstream.accounts)
        for status in get_args(Status):
            standing.add_metric((upstream.name, status.lower()), counted[status])
        for state in get_args(BreakerState):
            breaker.add_metric((upstream.name, state), upstream.breaker == state)
    yield standing
    yield breaker
    waiting = ((upstream.name, upstream.waiting) for upstream in upstreams)
    yield _gauge("mediagate_requests_waiting", "Requests that wait for a slot", "upstream", waiting)
    leases = CounterMetricFamily("mediagate_leases", "Leases of accounts", labels=("upstream",))
    refusals = CounterMetricFamily("mediagate_refusals", "Requests that got no account", labels=("upstream",))
    for upstream in upstreams:
        leases.add_metric((upstream.name,), upstream.leased)
        refusals.add_metric((upstream.name,), upstream.refused)
    yield leases
    yield refusals
    told = [(upstream.name, upstream.shared) for upstream in upstreams if upstream.shared is not None]
    if told:
        yield _gauge("mediagate_limits_shared", "1 while limits hold over all processes", "upstream", told)


def _accounts(upstreams: Sequence[UpstreamState]) -> Iterator[Metric]:
    labels = ("upstream", "account")
    in_flight = GaugeMetricFamily("mediagate_account_in_flight", "Requests it serves now", labels=labels)
    slots = GaugeMetricFamily("mediagate_account_slots", "Requests it may serve at once", labels=labels)
    for account in (account for upstream in upstreams for account in upstream.accounts):
        in_flight.add_metric((account.upstream, account.id), account.in_flight)
        slots.add_metric((account.upstream, account.id), account.slots)
    yield in_flight
    yield slots


def _requests(sums: Sequence[tuple[Sort, Sums]]) -> Iterator[Metric]:
    """How many, and how long they took."""
    requests = CounterMetricFamily(
        "mediagate_requests", "Requests that ended", labels=("kind", "upstream", "model", "status", "code")
    )
    took: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
    for sort, one in sums:
        status = f"{sort.status}xx"
        requests.add_metric((sort.kind, sort.upstream, sort.model, status, sort.code), sum(one.took))
        took[sort.kind, sort.upstream, status].join(one)
    yield requests
    seconds = HistogramMetricFamily(
        "mediagate_request_seconds",
        "How long they took, tasks from the asking on",
        labels=("kind", "upstream", "status"),
    )
    for labels, joined in took.items():
        buckets = list(zip(BUCKETS, map(float, accumulate(joined.took)), strict=True))
        seconds.add_metric(labels, buckets, joined.seconds)
    yield seconds


def _work(sums: Sequence[tuple[Sort, Sums]]) -> Iterator[Metric]:
    """What was made, and how many attempts it took."""
    by_model: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
    for sort, one in sums:
        by_model[sort.kind, sort.upstream, sort.model].join(one)
    for name, documentation, measure in MEASURES:
        family = CounterMetricFamily(f"mediagate_{name}", documentation, labels=("kind", "upstream", "model"))
        for labels, joined in by_model.items():
            if number := measure(joined):
                family.add_metric(labels, number)
        yield family
    charged: dict[tuple[str, str, str], float] = defaultdict(float)
    for (_, upstream, model), joined in by_model.items():
        for currency, amount in joined.cost.items():
            charged[upstream, model, currency] += amount
    cost = CounterMetricFamily("mediagate_cost", "What it cost", labels=("upstream", "model", "currency"))
    for labels, amount in charged.items():
        cost.add_metric(labels, amount)
    yield cost


def _gauge(name: str, documentation: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=(label,))
    for value, number in values:
        family.add_metric((value,), number)
    return family
