"""The pool on real sockets: the good keys serve whatever the bad ones do, no limit is passed, and it lasts."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateway_process import Gateway, eventually, running, served
from tests.acceptance.keys_upstream import Ask, Door, Key, KeysSite, Load, asked, one, statuses
from tests.emulators.openai_answers import Reply, refusal
from tests.emulators.openai_compatible import HTML, Reset, Silence

RATE = refusal(429, "rate_limit_exceeded", "Slow down.")
RESTING = refusal(429, "rate_limit_exceeded", "Slow down.", retry_after="60")
NO_QUOTA = refusal(429, "insufficient_quota", "You exceeded your current quota.")
REJECTED = refusal(401, "invalid_api_key", "Incorrect API key provided.")
FAILURE = refusal(500, "server_error", "The server had an error.")

GOOD_SECONDS = 0.02
BAD: dict[str, tuple[Any, str]] = {
    "told": (RESTING, "RATE_LIMITED"),
    "untold": (RATE, "RATE_LIMITED"),
    "quota": (NO_QUOTA, "EXHAUSTED"),
    "rejected": (REJECTED, "INVALID"),
    "failure": (FAILURE, "OK"),
    "reset": (Reset(), "OK"),
    "silence": (Silence(), "OK"),
    "garbage": (Reply(200, b"<<<not json>>>"), "OK"),
    "challenge": (Reply(403, HTML, "text/html"), "INVALID"),
    "balance": (refusal(402, "billing_not_active", "Your account is not active."), "EXHAUSTED"),
}
"""What a key does to every request, and how it stands after that."""
OF_EACH = 3
NOON = (datetime.now(UTC) + timedelta(hours=12)).replace(minute=0, second=0, microsecond=0)
"""When daily quotas come back: far away, whatever the time is."""
WAITS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"retry-after": "7"}, 7.0),
    "fraction": ({"retry-after": "7.5"}, 7.5),
    "date": ({"retry-after": format_datetime(NOON, usegmt=True)}, None),
    "milliseconds": ({"retry-after-ms": "12500"}, 12.5),
    "past": ({"retry-after": "-5"}, 1.0),
    "far": ({"retry-after": "1e9"}, 86_400.0),
    "nonsense": ({"retry-after": "soon"}, 5.0),
}
"""What a 429 says of when to come back, and the seconds that its key rests; None: until NOON."""
SLACK = 6.0
"""Seconds that a busy machine takes between an answer and the question about it."""
SELECTIONS = ("least_loaded", "round_robin", "weighted", "two_choices")
ADA, BOB = "key-of-ada", "key-of-bob"


@dataclass
class House:
    """A gateway, and the site with all the keys that it has."""

    site: KeysSite
    gateway: Gateway
    door: Door | None = None
    """Before an upstream of its own."""

    def keys(self, upstream: str) -> list[Key]:
        return self.site.of[upstream]

    def most_at_once(self, upstream: str) -> list[int]:
        return [key.at_once.most for key in self.keys(upstream)]

    def shares(self, upstream: str) -> list[int]:
        return [key.started for key in self.keys(upstream)]

    def standing(self, upstream: str) -> list[dict[str, Any]]:
        """Of its accounts, in the order of the keys."""
        rows = self.gateway.accounts()
        return [rows[f"{upstream}/a{at}"] for at in range(1, len(self.keys(upstream)) + 1)]

    def upstream(self, name: str) -> dict[str, Any]:
        with self.gateway.client() as http:
            [row] = [row for row in http.get("/api/status").json()["upstreams"] if row["name"] == name]
        return dict(row)


@contextmanager
def house(home: Path, site: KeysSite, *stanzas: dict[str, Any], **config: Any) -> Iterator[House]:
    """`stanzas` are of the site's upstreams."""
    config = {"upstreams": stanzas, "server": {"drain_seconds": 1}, **config}
    env = {"API_KEYS": f"{ADA},{BOB}"}
    with running(home, config, env=env, secrets=[*site.keys, BOB]) as gateway:
        yield House(site, gateway)


# --- one good key among many bad ---


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The good key is the last of its upstream; before it, besides what is bad, two doors that lead nowhere."""
    site = KeysSite()
    for fault, _ in BAD.values():
        site.add("crowd", OF_EACH, fault)
    site.add("crowd", 2 * OF_EACH)
    site.add("crowd", 1, seconds=lambda: GOOD_SECONDS)
    with served(site) as url, Door(url, "slam") as slam, Door(url, "shut") as shut:
        doors = [{"base_url": f"{door.url}/v1"} for door in (slam, shut) for _ in range(OF_EACH)]
        settings = [*[{}] * (OF_EACH * len(BAD)), *doors, {"max_concurrency": 8}]
        stanza = site.stanza(url, "crowd", *settings)
        home = tmp_path_factory.mktemp("crowd")
        with house(home, site, stanza, timeouts={"first_event": 1, "total": 3}) as found:
            yield found


def test_one_good_key_among_many_bad_serves_every_request(crowd: House) -> None:
    *bad, good = crowd.keys("crowd")
    asks = [Ask("crowd", stream=at % 2 == 1) for at in range(320)]
    assert statuses(asked(crowd.gateway, asks[:80], 48)) == {200: 80}, "found among the bad ones"
    warm = [key.started for key in bad]
    assert max(warm) <= 20, "each of them was found out by a few requests"
    assert statuses(asked(crowd.gateway, asks, 48)) == {200: 320}
    after = [key.started - before for key, before in zip(bad, warm, strict=True)]
    assert max(after) <= 10
    assert sum(after) <= 40, after
    assert good.at_once.most == 8, "its own limit: used to the full, and never passed"


def test_each_of_the_bad_stands_as_what_it_is(crowd: House) -> None:
    if not crowd.keys("crowd")[-1].started:
        asked(crowd.gateway, [Ask("crowd", stream=at % 2 == 1) for at in range(80)], 48)
    rows = crowd.standing("crowd")
    for at, (name, (_, status)) in enumerate(BAD.items()):
        for row in rows[OF_EACH * at : OF_EACH * (at + 1)]:
            assert row["status"] == status or (name == "untold" and row["status"] == "OK"), (name, row)
            assert (row["resetAt"] is None) == (row["status"] in ("OK", "INVALID")), (name, row)
            assert (row["strikes"] > 0) == (status == "OK"), (name, row)
    assert {row["in_flight"] for row in rows} == {0}
    good = rows[-1]
    assert (good["status"], good["trust"], good["strikes"], good["slots"]) == ("OK", "trusted", 0, 8)


# --- many good keys ---


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    site, rng = KeysSite(), random.Random(4)
    for selection in SELECTIONS:
        site.add(selection, 4)
        site.add(f"uneven-{selection}", 4, seconds=lambda: rng.uniform(0.001, 0.05))
    for name, keys, seconds in (
        ("heavy", 2, 0.0),
        ("capped", 3, 0.02),
        ("ceiling", 4, 0.02),
        ("minute", 2, 0.0),
        ("interval", 1, 0.0),
        ("daily", 2, 0.0),
        ("single", 10, 0.02),
        ("fair", 1, 0.02),
        ("nobody", 3, 0.0),
    ):
        site.add(name, keys, seconds=lambda seconds=seconds: seconds)
    site.add("failing", 4, FAILURE)
    site.add("caller", 1, refusal(400, "invalid_value", "Invalid value: 'x'.", param="temperature"))
    for wait in ("30", "60"):
        site.add("tired", 1, refusal(429, "rate_limit_exceeded", "Slow down.", retry_after=wait))
    for name, (headers, _) in WAITS.items():
        site.add(f"wait-{name}", 1, Reply(429, RATE.body, headers=headers))
        site.add(f"wait-{name}", 1)
    with served(site) as url, Door(url) as door:
        stanzas = [
            *(site.stanza(url, selection, selection=selection) for selection in SELECTIONS),
            *(site.stanza(url, f"uneven-{selection}", selection=selection) for selection in SELECTIONS),
            site.stanza(url, "heavy", {"weight": 3}, {"weight": 1}, selection="weighted"),
            site.stanza(url, "capped", {"max_concurrency": 4}),
            site.stanza(url, "ceiling", max_concurrency=6),
            site.stanza(url, "minute", {"requests_per_minute": 5, "max_concurrency": 2}),
            site.stanza(url, "interval", {"min_interval": 0.2}),
            site.stanza(url, "daily", {"daily_quota": {"t2t": 4}}, quota_reset={"hour": NOON.hour}),
            site.stanza(url, "single", {"max_concurrency": 1}),
            site.stanza(url, "fair", {"max_concurrency": 1}),
            site.stanza(door.url, "nobody"),
            *(site.stanza(url, name) for name in ("failing", "caller", "tired", *(f"wait-{name}" for name in WAITS))),
        ]
        with house(tmp_path_factory.mktemp("pool"), site, *stanzas) as found:
            yield replace(found, door=door)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_four_good_keys_have_equal_shares_of_requests_one_after_the_other(pool: House, selection: str) -> None:
    """Within a tenth of what is fair; for the choice of two at random within two fifths."""
    asks = [Ask(selection, stream=at % 3 == 1) for at in range(80)]
    assert statuses(asked(pool.gateway, asks)) == {200: 80}
    assert _even(pool.shares(selection), 0.4 if selection == "two_choices" else 0.1)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_four_good_keys_have_equal_shares_of_requests_of_unequal_length(pool: House, selection: str) -> None:
    """Twelve at once, within a tenth of what is fair; for the choice of two at random within a quarter."""
    upstream = f"uneven-{selection}"
    asks = [Ask(upstream, stream=at % 3 == 1) for at in range(400)]
    assert statuses(asked(pool.gateway, asks, 12)) == {200: 400}
    assert _even(pool.shares(upstream), 0.25 if selection == "two_choices" else 0.1)


def _even(shares: list[int], slack: float) -> bool:
    fair = sum(shares) / len(shares)
    assert all(abs(share - fair) <= slack * fair for share in shares), shares
    return True


def test_a_key_of_three_times_the_weight_has_three_times_the_share(pool: House) -> None:
    for at_once in (1, 8):
        for key in pool.keys("heavy"):
            key.forget()
        assert statuses(asked(pool.gateway, [Ask("heavy")] * 120, at_once)) == {200: 120}
        heavy, light = pool.shares("heavy")
        assert abs(heavy - 90) <= 9, (heavy, light)
        assert heavy + light == 120


# --- limits ---


def test_no_key_does_more_at_once_than_it_may(pool: House) -> None:
    assert statuses(asked(pool.gateway, [Ask("capped", stream=at % 2 == 1) for at in range(200)], 200)) == {200: 200}
    assert pool.most_at_once("capped") == [4, 4, 4], "used to the full"


def test_an_upstream_does_not_do_more_at_once_than_it_may(pool: House) -> None:
    assert statuses(asked(pool.gateway, [Ask("ceiling", stream=at % 2 == 1) for at in range(200)], 200)) == {200: 200}
    assert pool.site.at_once["ceiling"].most == 6


def test_ten_keys_of_one_slot_each_serve_two_hundred(pool: House) -> None:
    answers = asked(pool.gateway, [Ask("single")] * 200, 200)
    assert statuses(answers) == {200: 200}
    assert pool.most_at_once("single") == [1] * 10
    assert _even(pool.shares("single"), 0.2)
    took = sorted(heard.got - heard.sent for heard in answers)
    assert took[197] < 3 * took[100], "those who wait are served in turn"


def test_a_caller_with_one_request_does_not_wait_for_one_with_two_hundred(pool: House) -> None:
    [key] = pool.keys("fair")
    with Load([pool.gateway], "fair", callers=200, key=ADA) as load:
        eventually(lambda: key.started >= 10, 15)
        assert pool.upstream("fair")["waiting"] > 100
        for number in range(3):
            before = key.started
            assert one(pool.gateway, "fair", text=f"of bob {number}", key=BOB).well
            assert key.texts.index(f"of bob {number}") - before <= 10, "and not behind all of ada's"
        load.over = True
    assert statuses(load.answers).keys() == {200}
    assert key.at_once.most == 1


def test_requests_per_minute_are_kept_and_the_refusal_says_when_there_are_more(pool: House) -> None:
    answers = asked(pool.gateway, [Ask("minute")] * 40, 20)
    assert statuses(answers) == {200: 10, 429: 30}
    assert pool.shares("minute") == [5, 5]
    first = min(key.began[0] for key in pool.keys("minute"))
    for heard in answers:
        if heard.status == 429:
            assert '"upstream_rate_limited"' in heard.text
            early, late = (first + 60 - moment for moment in (heard.got, heard.sent))
            assert early - 1 < heard.retry_after < late + 2, "true to the second"
            assert heard.got - heard.sent < 10, "it was not made to wait in vain"
    assert {row["status"] for row in pool.standing("minute")} == {"RATE_LIMITED"}


def test_the_time_between_two_requests_is_kept(pool: House) -> None:
    [key] = pool.keys("interval")
    assert statuses(asked(pool.gateway, [Ask("interval")] * 10, 10)) == {200: 10}
    assert key.began[-1] - key.began[0] > 9 * 0.2 - 0.1
    assert min(later - sooner for sooner, later in pairwise(key.began)) > 0.1, "but for what the way there takes"


def test_a_daily_quota_is_kept_until_its_hour(pool: House) -> None:
    answers = asked(pool.gateway, [Ask("daily")] * 20, 10)
    assert statuses(answers) == {200: 8, 429: 12}
    assert pool.shares("daily") == [4, 4]
    for heard in answers:
        if heard.status == 429:
            assert '"insufficient_quota"' in heard.text
            assert abs(time.time() + heard.retry_after - NOON.timestamp()) < SLACK
    for row in pool.standing("daily"):
        assert (row["status"], row["used_today"], row["reset_at"]) == ("EXHAUSTED", {"t2t": 4}, NOON.timestamp())


def test_who_waits_in_vain_is_told_when_to_come_back(tmp_path: Path) -> None:
    site = KeysSite()
    site.add("busy", 2, seconds=lambda: 0.2)
    with served(site) as url:
        stanza, rules = site.stanza(url, "busy", {"max_concurrency": 2}), {"slot_wait": 0.5, "max_waiting": 20}
        with house(tmp_path, site, stanza, pool=rules) as busy:
            answers = asked(busy.gateway, [Ask("busy", stream=at % 2 == 1) for at in range(200)], 200)
            assert statuses(answers).keys() == {200, 503}
            assert max(heard.retry_after for heard in answers if heard.status == 503) <= SLACK
            assert max(busy.most_at_once("busy")) == 2
            assert one(busy.gateway, "busy").well


# --- what upstreams do ---


@pytest.mark.parametrize("wait", WAITS)
def test_a_key_rests_as_long_as_it_is_told(pool: House, wait: str) -> None:
    upstream, seconds = f"wait-{wait}", WAITS[wait][1]
    bad, _ = pool.keys(upstream)
    while not bad.started:
        assert one(pool.gateway, upstream).well
    until = NOON.timestamp() if seconds is None else time.time() + seconds
    assert statuses(asked(pool.gateway, [Ask(upstream)] * 4, 4)) == {200: 4}
    row, _ = pool.standing(upstream)
    short = until < time.time() + SLACK
    if not short or row["reset_at"] is not None:
        assert row["status"] == "RATE_LIMITED"
        assert until - SLACK < row["reset_at"] < until + 1
    assert bad.started == 1 or short


def test_where_all_rest_the_soonest_is_named(pool: House) -> None:
    first = one(pool.gateway, "tired")
    told = [one(pool.gateway, "tired") for _ in range(3)]
    for heard in (first, *told):
        assert heard.status == 429
        assert 30 - SLACK <= heard.retry_after <= 30, heard.text
    assert pool.shares("tired") == [1, 1]


def test_a_caller_s_fault_is_nobody_else_s(pool: House) -> None:
    assert statuses(asked(pool.gateway, [Ask("caller")] * 30, 10)) == {400: 30}
    assert pool.shares("caller") == [30]
    [row] = pool.standing("caller")
    assert (row["status"], row["strikes"], row["trust"]) == ("OK", 0, "trusted")


def test_an_upstream_that_fails_is_not_asked_even_more(pool: House) -> None:
    answers = asked(pool.gateway, [Ask("failing")] * 300, 10)
    assert statuses(answers).keys() == {502, 503}
    assert all(heard.retry_after for heard in answers if heard.status == 503)
    assert sum(pool.shares("failing")) <= 1.2 * 300
    assert pool.upstream("failing")["breaker"] != "closed"


def test_an_upstream_that_is_not_there_costs_its_accounts_nothing(pool: House) -> None:
    assert pool.door is not None
    answers = asked(pool.gateway, [Ask("nobody")] * 12)
    assert answers[0].status == 502
    assert answers[-1].retry_after <= 60
    assert statuses(answers).keys() == {502, 503}
    for row in pool.standing("nobody"):
        assert (row["status"], row["strikes"], row["trust"]) == ("OK", 0, "trusted")
    pool.door.open()
    eventually(lambda: one(pool.gateway, "nobody").well, 15)
    assert statuses(asked(pool.gateway, [Ask("nobody")] * 12, 12)) == {200: 12}
    assert pool.upstream("nobody")["breaker"] == "closed"


# --- what lasts ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_what_is_known_of_a_key_survives_a_restart(tmp_path: Path, number: int) -> None:
    site = KeysSite()
    for fault in (RESTING, NO_QUOTA, REJECTED, None, None, None):
        site.add("keys", 1, fault)
    with served(site) as url:
        stanza = site.stanza(url, "keys", {}, {}, {}, {}, {"daily_quota": {"t2t": 2}}, {})
        with house(tmp_path, site, stanza) as keys:
            assert statuses(asked(keys.gateway, [Ask("keys")] * 30)) == {200: 30}
            with keys.gateway.client() as http:
                assert http.post("/api/accounts/keys/a4/disable").status_code == 200
            before = keys.standing("keys")
            known = ["RATE_LIMITED", "EXHAUSTED", "INVALID", "DISABLED", "EXHAUSTED", "OK"]
            assert [row["status"] for row in before] == known
            assert keys.shares("keys")[4] == 2
            time.sleep(1)
            keys.gateway.restart(number)
            for key in keys.keys("keys"):
                key.forget()
            after = keys.standing("keys")
            for was, is_ in zip(before, after, strict=True):
                for name in ("status", "reason", "exhausted"):
                    assert is_[name] == was[name], (was, is_)
                assert (is_["reset_at"] is None) == (was["reset_at"] is None)
                assert abs((is_["reset_at"] or 0) - (was["reset_at"] or 0)) < 1.5
            assert after[4]["used_today"] == {"t2t": 2}
            assert statuses(asked(keys.gateway, [Ask("keys", stream=at % 2 == 1) for at in range(40)], 20)) == {200: 40}
            assert keys.shares("keys") == [0, 0, 0, 0, 0, 40]


def test_a_key_that_was_rejected_is_tried_again_once_the_config_has_another(tmp_path: Path) -> None:
    site = KeysSite()
    for fault in (REJECTED, None):
        site.add("keys", 1, fault)
    with served(site) as url:
        stanza = site.stanza(url, "keys", {}, {})
        written = tmp_path / "config.yaml"
        with house(tmp_path, site, stanza) as keys:
            assert statuses(asked(keys.gateway, [Ask("keys")] * 4)) == {200: 4}
            assert [row["status"] for row in keys.standing("keys")] == ["INVALID", "OK"]
            time.sleep(1)
            bad, good = (account["api_key"] for account in stanza["accounts"])
            written.write_text(written.read_text().replace(bad, good))
            keys.gateway.restart()
            assert [row["status"] for row in keys.standing("keys")] == ["OK", "OK"]
            assert statuses(asked(keys.gateway, [Ask("keys")] * 4)) == {200: 4}
            assert [row["used_today"] for row in keys.standing("keys")] == [{"t2t": 2}, {"t2t": 2}]
