"""What happens to a pool from outside: other accounts, other limits, what others know; and what it tells."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from gateway import errors
from gateway.accounts.facts import Fact
from gateway.accounts.lease import Lease
from gateway.accounts.pool import Pool, PoolRules
from gateway.errors import AllResting, GatewayError, NoAccount, Unavailable
from gateway.state.slots import NEVER
from gateway.types import Account
from tests.unit.accounts.clocks import Clocks, account

HOUR = 3_600.0
CREDENTIAL = "credential"


class Told:
    """A `Journal` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def note(self, account_id: str, fact: Fact) -> None:
        self.told.append(("note", account_id, fact))

    def lift(self, account_id: str, name: str) -> None:
        self.told.append(("lift", account_id, name))

    def used(self, account_id: str, group: str, ends: float, leases: int) -> None:
        self.told.append(("used", account_id, group, ends, leases))

    def renewed(self, account_id: str) -> None:
        self.told.append(("renewed", account_id))


class House:
    """A pool, its time and its journal."""

    def __init__(self, *accounts: Account, **rules: Any) -> None:
        self.time, self.journal = Clocks(wall=20_000 * 86_400.0 + 6 * HOUR), Told()
        self.rules = PoolRules(**rules)
        self.pool = Pool(
            "up", accounts, rules=self.rules, clock=self.time.clock, wall=self.time.wall, rng=random.Random(1),
            journal=self.journal,
        )  # fmt: skip

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """What the journal heard, but for which credential it was of."""
        told, self.journal.told = self.journal.told, []
        return [one for one in told if not (one[0] == "note" and one[2].name == CREDENTIAL)]

    def bind(self, *accounts: Account, **rules: Any) -> None:
        self.pool.rebind(accounts, PoolRules(**rules) if rules else self.rules)

    def take(self, **fields: Any) -> Lease:
        return self.pool.take(**({"model": "m", "kind": "t2t"} | fields))

    def refused(self, **fields: Any) -> Unavailable:
        with pytest.raises(Unavailable) as told:
            self.take(**fields)
        return told.value

    def names(self, count: int, **fields: Any) -> list[str]:
        return [self.take(**fields).account.name for _ in range(count)]

    def fail(self, error: GatewayError, times: int = 1, **fields: Any) -> None:
        for _ in range(times):
            self.take(**fields).release(error)


# --- other accounts ---


def test_those_that_stay_keep_how_they_stand_and_what_they_do() -> None:
    it = House(account("a"), account("b", daily_quota={"t2v": 1}), account("c"))
    it.fail(errors.RateLimited(retry_after=50), only="up/a")
    it.take(kind="t2v", only="up/b").release()
    held = it.take(only="up/c")
    it.bind(account("c"), account("b", daily_quota={"t2v": 1}), account("a"))
    assert it.refused(only="up/a").retry_after == 50
    assert "out of quota" in it.refused(kind="t2v", only="up/b").message
    assert [shown.in_flight for shown in it.pool.status()] == [1, 0, 0]
    held.release()
    assert [shown.in_flight for shown in it.pool.status()] == [0, 0, 0]


def test_one_that_was_removed_gets_no_new_work_and_ends_its_old() -> None:
    it = House(account("a"), account("b"))
    held = it.take(only="up/a")
    it.bind(account("b"))
    assert it.names(3) == ["b"] * 3
    assert it.refused(only="up/a").message == "no account for 'm': 'up/a' is not an account of 'up'"
    assert (it.pool.account("up/a"), held.account.name, it.pool.in_flight) == (None, "a", 4)
    held.release(errors.CredentialRejected("revoked"))
    assert it.pool.in_flight == 3
    assert it.told == [], "of an account that is gone nobody wants to know"
    it.bind(account("a"), account("b"))
    assert it.take(only="up/a").held


def test_one_that_comes_back_while_its_leases_are_out_passes_no_limit() -> None:
    it = House(account("a", max_concurrency=2), account("b"))
    held = [it.take(only="up/a") for _ in range(2)]
    it.bind(account("b"))
    it.bind(account("b"))
    it.bind(account("a", max_concurrency=2), account("b"))
    assert it.refused(only="up/a").message == "no account for 'm': 1 busy"
    held[0].release()
    it.take(only="up/a")
    held[1].release()
    assert it.pool.in_flight == 1


def test_one_that_comes_back_with_nothing_out_starts_afresh() -> None:
    it = House(account("a"))
    it.fail(errors.CredentialRejected())
    it.bind()
    assert it.refused().message == "no account for 'm': none is configured for upstream 'up'"
    it.bind(account("a"))
    assert it.take().held


def test_another_credential_starts_afresh_and_old_leases_say_nothing_of_it() -> None:
    it = House(account("a", credential="old"))
    running = [it.take(), it.take()]
    it.fail(errors.CredentialRejected())
    it.bind(account("a", credential="new"))
    assert ("renewed", "up/a") in it.told
    assert it.take().account.credential == "new"
    running[0].release(errors.CredentialRejected("the old one"))
    running[1].release(errors.RateLimited(retry_after=50))
    assert it.told == []
    assert it.take().held
    assert running[0].account.credential == "old"


def test_other_limits_hold_at_once() -> None:
    it = House(account(max_concurrency=1, requests_per_minute=5))
    it.take()
    assert "busy" in it.refused().message
    it.bind(account(max_concurrency=2, requests_per_minute=5))
    it.take()
    it.bind(account(max_concurrency=4, requests_per_minute=2))
    assert it.refused().message == "no account for 'm': 1 at the rate limit, next in 60 s"
    it.bind(account(max_concurrency=4, requests_per_minute=2, not_models=frozenset({"m"})))
    assert it.refused().message == "no account for 'm': 1 not allowed to use it"
    assert not [one for one in it.told if one[0] == "renewed"]


def test_the_operators_word_stands_while_the_configs_does_not_change() -> None:
    it = House(account("a"))
    it.pool.disable("a")
    it.bind(account("a", weight=2.0))
    assert it.refused().message == "no account for 'm': 1 disabled"
    it.bind(account("a", weight=2.0, enabled=False))
    it.pool.enable("a")
    it.bind(account("a", enabled=False))
    assert it.take().held
    it.bind(account("a", enabled=True))
    it.bind(account("a", enabled=False))
    assert it.refused().message == "no account for 'm': 1 disabled"


def test_other_rules_hold_at_once() -> None:
    it = House(account("a"), account("b"), ceiling=1)
    it.take()
    it.refused()
    it.bind(account("a"), account("b"), ceiling=3, selection="round_robin", retry_budget=0.0)
    assert it.names(2) == ["b", "a"]
    assert not it.pool.budget.spend()


def test_accounts_that_move_to_another_site_leave_no_trial_behind() -> None:
    one, other = "https://one", "https://other"
    it = House(account("a", base_url=one), account("b", base_url=one))
    it.fail(errors.UpstreamUnreachable(), 3)
    it.time.pass_by(2)
    trial = it.take(only="up/a")
    it.bind(account("a", base_url=other), account("b", base_url=one))
    assert "behind an upstream that fails" in it.refused(only="up/b").message
    assert it.take(only="up/a").held, "another site"
    trial.abandon()
    assert it.take(only="up/b").held


def test_one_that_moved_gets_the_slot_back_that_it_had_elsewhere() -> None:
    it = House(account("a", max_concurrency=1, base_url="https://one"))
    held = it.take()
    it.bind(account("a", max_concurrency=1, base_url="https://other"))
    assert "busy" in it.refused().message
    held.release()
    assert it.take().held


def test_a_site_is_known_as_long_as_an_account_is_behind_it() -> None:
    it = House(account("a"), account("b"))
    it.fail(errors.UpstreamUnreachable(), 3)
    it.bind(account("b"), account("c"))
    assert it.refused().message == "no account for 'm': 2 behind an upstream that fails, next in 2 s"


# --- sites ---


def test_a_site_that_fails_does_not_stop_those_behind_another() -> None:
    it = House(account("a"), account("b", proxy="http://proxy"), account("c", base_url="https://other"))
    it.fail(errors.UpstreamUnreachable(), 3, only="up/a")
    assert it.pool.breaker_state == "closed"
    assert set(it.names(4)) == {"b", "c"}
    it.fail(errors.UpstreamUnreachable(), 3, only="up/b")
    it.fail(errors.UpstreamUnreachable(), 3, only="up/c")
    assert it.pool.breaker_state == "open"
    assert it.refused().message == "no account for 'm': 3 behind an upstream that fails, next in 2 s"


def test_half_open_exactly_one_request_is_let_through() -> None:
    it = House(account("a"), account("b"))
    it.fail(errors.UpstreamUnreachable(), 3)
    it.time.pass_by(2)
    assert it.pool.breaker_state == "half_open"
    trial = it.take()
    told = it.refused()
    assert (told.message, told.retry_after) == (
        "no account for 'm': 2 behind an upstream that fails, next in 1 s", 1,
    )  # fmt: skip
    trial.release(errors.UpstreamUnreachable())
    assert it.refused().retry_after == 4
    it.time.pass_by(4)
    it.take().release()
    assert it.pool.breaker_state == "closed"
    assert set(it.names(4)) == {"a", "b"}


@pytest.mark.parametrize("show", ["prove", "refuse", "limit", "release"])
def test_whatever_shows_that_the_site_answers_ends_it(show: str) -> None:
    it = House(account("a"), account("b"))
    it.fail(errors.UpstreamUnreachable(), 3)
    it.time.pass_by(2)
    trial = it.take(only="up/a")
    match show:
        case "prove":
            trial.prove()
        case "refuse":
            trial.release(errors.ContentRefused())
        case "limit":
            trial.release(errors.RateLimited())
        case _:
            trial.release()
    assert it.pool.breaker_state == "closed"
    assert it.take().account.name == "b"


@pytest.mark.parametrize("error", [errors.ClientLeft(), errors.GenerationFailed(), None])
def test_a_trial_that_shows_nothing_is_followed_by_another(error: GatewayError | None) -> None:
    it = House(account("a"), account("b"))
    it.fail(errors.UpstreamUnreachable(), 3)
    it.time.pass_by(2)
    trial = it.take()
    trial.abandon() if error is None else trial.release(error)
    assert it.pool.breaker_state == "half_open"
    assert it.take().held
    it.refused()


def test_one_bad_account_among_good_ones_sets_nothing_aside() -> None:
    it = House(account("bad"), account("good"))
    it.fail(errors.UpstreamFailed(), 49, only="up/bad")
    assert it.pool.breaker_state == "closed"
    assert {shown.name: shown.trust for shown in it.pool.status()} == {"bad": "failing", "good": "trusted"}
    assert it.names(3) == ["good"] * 3


@pytest.mark.parametrize(
    ("other", "error"),
    [(account("other", enabled=False), None), (account("other"), errors.RateLimited(retry_after=60)),
     (account("other", base_url="https://elsewhere"), None)],
)  # fmt: skip
def test_accounts_that_could_not_be_tried_are_no_proof_that_the_site_works(
    other: Account, error: GatewayError | None
) -> None:
    it = House(account("a"), other)
    if error is not None:
        it.fail(error, only="up/other")
    it.fail(errors.UpstreamFailed(), 5, only="up/a")
    assert "behind an upstream that fails" in it.refused(only="up/a").message


def test_a_failing_probe_keeps_a_site_set_aside() -> None:
    it = House(account("off", enabled=False), account("a"))
    it.fail(errors.UpstreamUnreachable(), 3)
    it.time.pass_by(1.5)
    assert [account.name for account in it.pool.probed(1.0)] == ["a"]
    assert list(it.pool.probed(1.0)) == []
    it.pool.blame("up/a", errors.UpstreamUnreachable(), model="m", kind="t2v")
    assert it.refused().retry_after == 1, "a poll that fails is no probe"
    for name in ("up/a", "up/gone"):
        it.pool.unreached(name)
    assert it.refused().retry_after == 4


# --- tags, priorities, ceiling ---


def test_only_accounts_with_all_the_tags_serve() -> None:
    it = House(account("a", tags=frozenset({"eu"})), account("b", tags=frozenset({"eu", "paid"})), account("c"))
    assert set(it.names(4, tags=frozenset({"eu"}))) == {"a", "b"}
    assert it.names(2, tags=frozenset({"eu", "paid"})) == ["b", "b"]
    told = it.refused(tags=frozenset({"us"}))
    assert (type(told), told.message) == (NoAccount, "no account for 'm': 3 not allowed to use it")
    it.bind(account("c", tags=frozenset({"us"})))
    assert it.names(1, tags=frozenset({"us"})) == ["c"]


def test_lower_priorities_serve_only_while_none_of_the_higher_is_free() -> None:
    it = House(account("low", priority=-1), account("high", priority=5, max_concurrency=2), account("mid"))
    held = [it.take() for _ in range(2)]
    assert [lease.account.name for lease in held] == ["high", "high"]
    assert it.names(8) == ["mid"] * 8
    assert it.names(1) == ["low"]
    held[0].release()
    assert it.names(2) == ["high", "low"]


def test_a_ceiling_holds_over_all_accounts_and_counts_those_removed() -> None:
    it = House(account("a"), account("b"), ceiling=3)
    held = [it.take() for _ in range(3)]
    told = it.refused()
    assert (type(told), told.message, told.retry_after) == (AllResting, "no account for 'm': 2 busy", 1)
    assert it.pool.could(model="m", kind="t2t")
    assert it.pool.soonest(model="m", kind="t2t") == 0
    it.bind(account("b"), ceiling=3)
    it.refused()
    held[0].release()
    it.take()
    it.refused()


# --- slow start ---


def test_an_account_comes_back_with_one_slot_and_doubles() -> None:
    it = House(account(max_concurrency=8))
    it.fail(errors.RateLimited(retry_after=10))
    it.time.pass_by(10)
    for slots in (1, 2, 4, 8, 8):
        held = [it.take() for _ in range(slots)]
        assert "busy" in it.refused().message
        held.pop().release()
        for lease in held:
            lease.abandon()


def test_an_answer_that_began_is_enough_to_try_more_and_counts_once() -> None:
    it = House(account(max_concurrency=8))
    it.fail(errors.RateLimited(retry_after=10))
    it.time.pass_by(10)
    lease = it.take()
    for _ in range(3):
        lease.prove()
    assert it.pool.status()[0].slots == 2
    lease.release()
    lease.prove()
    assert it.pool.status()[0].slots == 2


# --- what others know ---


def test_what_is_learnt_holds_at_once() -> None:
    it = House(account("a"), account("b", daily_quota={"t2v": 2}))
    wall = it.time.unix
    it.pool.learn("up/a", [Fact("rest", wall + 30), Fact("model_off:dear", NEVER)])
    it.pool.learn("up/b", [Fact("used:t2v", wall + 18 * HOUR, leases=2)])
    it.pool.learn("up/gone", [Fact("rejected", NEVER)])
    assert it.refused(only="up/a").retry_after == 30
    assert it.refused(kind="t2v").message == "no account for 'm': 1 out of quota, 1 resting, next in 30 s"
    assert it.told == [], "what was learnt is known already"
    it.time.pass_by(30)
    assert it.refused(model="dear", only="up/a").message == "no account for 'dear': 1 not enabled for it"
    assert it.names(1, model="dear") == ["b"]
    it.pool.learn("up/a", [Fact("disabled", NEVER)])
    assert it.refused(only="up/a").message == "no account for 'm': 1 disabled"
    it.pool.learn("up/a", [])
    assert it.take(model="dear", only="up/a").held


def kept(journal: Told) -> list[Fact]:
    """The facts as another process, or a later one, would learn them."""
    return [one[2] for one in journal.told if one[0] == "note"]


def test_what_was_known_of_a_credential_says_nothing_of_the_next() -> None:
    before = House(account("a", credential="old", daily_quota={"t2v": 2}))
    before.fail(errors.CredentialRejected("revoked"))
    facts = [*kept(before.journal), Fact("used:t2v", before.time.unix + 18 * HOUR, leases=2)]
    after = House(account("a", credential="new", daily_quota={"t2v": 2}))
    after.pool.learn("up/a", facts)
    assert after.take().held
    assert after.refused(kind="t2v").message.startswith("no account for 'm': 1 out of quota"), "what was used was used"
    assert after.told[0] == ("renewed", "up/a"), "nor is it to say anything to others"


def test_what_is_known_of_a_credential_holds_for_it_wherever_it_is_read() -> None:
    before = House(account("a", credential="same"))
    before.fail(errors.CredentialRejected("revoked"))
    after = House(account("a", credential="same", label="another name for people", weight=3))
    after.pool.learn("up/a", kept(before.journal))
    assert after.refused().message == "no account for 'm': 1 with a rejected credential"
    assert after.told == []


def test_no_credential_can_be_read_off_what_is_kept() -> None:
    it = House(account("a", credential="sk-canary"), account("b", credential="sk-canary"))
    it.fail(errors.CredentialRejected(), only="up/a")
    it.fail(errors.CredentialRejected(), only="up/b")
    of_a, of_b = (fact.reason for fact in kept(it.journal) if fact.name == CREDENTIAL)
    assert "canary" not in repr(it.journal.told)
    assert of_a != of_b, "nor that two accounts have the same"


# --- what is told ---


def test_the_journal_hears_what_is_known_against_an_account() -> None:
    it = House(account("a"))
    wall = it.time.unix
    for error in (
        errors.ContentRefused(), errors.UpstreamFailed(), errors.UpstreamUnreachable(), errors.ModelNotEnabled(),
        errors.QuotaExhausted(retry_after=60),
    ):  # fmt: skip
        it.fail(error, model="dear", kind="t2v")
        it.pool.renewed("a")
    it.fail(errors.RateLimited(retry_after=30))
    assert [one for one in it.told if one[0] != "renewed"] == [
        ("note", "up/a", Fact("model_off:dear", NEVER)),
        ("note", "up/a", Fact("exhausted:t2v", wall + 60)),
        ("note", "up/a", Fact("rest", wall + 30, "asked to slow down")),
    ]


def test_the_journal_hears_what_was_used_where_there_is_a_quota() -> None:
    it = House(account("a", daily_quota={"t2v": 5}))
    ends = it.time.unix + 18 * HOUR
    it.take().release()
    it.take(kind="i2v").release(errors.GenerationFailed())
    it.take(kind="t2v").release(errors.ContentRefused())
    leases = [("used", "up/a", "t2v", ends, count) for count in (1, 1, -1)]
    assert it.told == leases
    assert dict(it.pool.status()[0].used_today) == {"t2t": 1, "t2v": 1}


def test_what_was_used_yesterday_is_not_given_back_today() -> None:
    it = House(account("a", daily_quota={"t2v": 5}))
    running = it.take(kind="t2v")
    it.time.pass_by(20 * HOUR)
    it.take(kind="t2v")
    assert len(it.told) == 2
    running.release(errors.ContentRefused())
    assert it.told == []
    assert dict(it.pool.status()[0].used_today) == {"t2v": 1}


def test_the_journal_hears_the_operator() -> None:
    it = House(account("a"), account("b", enabled=False))
    it.pool.disable("a")
    it.pool.enable("a")
    it.pool.enable("b")
    it.pool.disable("b")
    it.pool.renewed("a")
    assert it.told == [
        ("lift", "up/a", "enabled"), ("note", "up/a", Fact("disabled", NEVER)), ("lift", "up/a", "disabled"),
        ("lift", "up/b", "disabled"), ("note", "up/b", Fact("enabled", NEVER)), ("lift", "up/b", "enabled"),
        ("renewed", "up/a"),
    ]  # fmt: skip


def test_an_error_outside_of_a_lease_is_told_as_well() -> None:
    it = House(account("a"))
    it.pool.blame("up/a", errors.CredentialRejected("revoked"), model="m", kind="t2v")
    assert it.told == [("note", "up/a", Fact("rejected", NEVER, "revoked"))]


# --- people ---


def test_the_status_tells_trust_and_what_an_account_is_for() -> None:
    it = House(account("a", priority=3, tags=frozenset({"eu", "b"}), label="Anna's"), account("b"))
    it.fail(errors.UpstreamFailed(), 2, only="up/a")
    shown = it.pool.status()[0]
    assert (shown.trust, shown.strikes, shown.priority, shown.tags, shown.label) == (
        "doubted", 2, 3, ("b", "eu"), "Anna's",
    )  # fmt: skip


def test_the_soonest_is_true_for_whoever_asks() -> None:
    it = House(account("a"), account("b", not_models=frozenset({"dear"})))
    assert it.pool.soonest(model="m", kind="t2t") == 0
    it.fail(errors.RateLimited(retry_after=50), only="up/a")
    assert it.pool.soonest(model="m", kind="t2t") == 0
    assert it.pool.soonest(model="dear", kind="t2t") == pytest.approx(50)
    assert it.pool.soonest(model="m", kind="t2t", tags=frozenset({"eu"})) is None
    it.fail(errors.UpstreamFailed(), 3, only="up/b")
    assert it.pool.soonest(model="m", kind="t2t") == 0, "it serves where nobody better could"
    assert it.pool.soonest(model="m", kind="t2t", trusted=True) == pytest.approx(30)


def test_a_pool_knows_whether_tokens_matter() -> None:
    it = House(account("a"))
    assert not it.pool.counts_tokens
    it.bind(account("a"), account("b", tokens_per_minute=5))
    assert it.pool.counts_tokens


def test_leases_and_refusals_are_counted() -> None:
    it = House(account(max_concurrency=2))
    it.names(2)
    it.refused()
    assert (it.pool.leased, it.pool.refused, it.pool.in_flight) == (2, 1, 2)


def some(accounts: Iterable[Account]) -> list[Account]:
    return [replace(each, label="new") for each in accounts]


def test_accounts_are_listed_as_they_are_now() -> None:
    it = House(account("a"), account("b"))
    it.bind(*some(it.pool.accounts))
    assert [(each.name, each.label) for each in it.pool.accounts] == [("a", "new"), ("b", "new")]
    assert it.pool.account("b") is it.pool.account("up/b") is it.pool.accounts[1]
