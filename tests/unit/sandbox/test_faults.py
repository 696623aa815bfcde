from __future__ import annotations

import pytest

from gateway import errors
from gateway.sandbox.faults import HEADER, KEYS, Fault, interruption, pace, parse, refusal, until_midnight
from gateway.types import Paced

NOON = 1_763_726_400.0 + 12 * 3600 - 1_763_726_400.0 % 86_400


def test_a_name_alone_has_the_defaults():
    assert parse("rate_limit") == Fault("rate_limit", retry_after=5.0)
    assert parse("slow_job").seconds == 60
    assert parse("cut").after == 2
    assert parse("garbage").after == 0


def test_values_are_read_and_spaces_forgiven():
    assert parse(" rate_limit ; retry_after = 7 ;").retry_after == 7
    assert parse("server_error;status=503").status == 503
    assert parse("silence;seconds=0.5;after=2") == Fault("silence", seconds=0.5, after=2)


def test_shared_keys_go_with_every_name():
    for name in KEYS:
        fault = parse(f"{name};kinds=t2v, t2i;account=b;rate=0.3")
        assert (fault.kinds, fault.account, fault.rate) == (frozenset({"t2v", "t2i"}), "b", 0.3)


def test_an_unknown_fault_names_the_known_ones():
    with pytest.raises(errors.InvalidRequest, match=r"'ratelimit' is not a fault.*rate_limit.*lost_create") as caught:
        parse("ratelimit")
    assert caught.value.param == HEADER


@pytest.mark.parametrize(
    "line",
    [
        "",
        ";",
        "rate_limit;retry_after",
        "rate_limit;retry_after=soon",
        "rate_limit;retry_after=-1",
        "rate_limit;retry_after=nan",
        "rate_limit;retry_after=inf",
        "rate_limit;status=500",
        "rate_limit;nonsense=1",
        "server_error;status=200",
        "cut;after=1.5",
        "refused;rate=1.1",
        "refused;kinds=t2x",
        "refused;kinds=",
        "refused;account=",
    ],
)
def test_what_cannot_be_meant_is_refused(line: str):
    with pytest.raises(errors.InvalidRequest):
        parse(line)


def test_an_unknown_key_names_the_right_ones():
    with pytest.raises(errors.InvalidRequest, match="takes no 'status'; it takes retry_after, kinds, account, rate"):
        parse("rate_limit;status=500")


def test_it_strikes_only_the_kinds_it_names():
    fault = parse("refused;kinds=t2v,t2i")
    assert fault.strikes(kind="t2v", account="a", throw=1)
    assert not fault.strikes(kind="t2t", account="a", throw=1)
    assert not fault.strikes(kind=None, account="a", throw=1)
    assert parse("refused").strikes(kind=None, account="a", throw=1)


def test_it_strikes_only_the_account_it_names():
    fault = parse("bad_key;account=b")
    assert [fault.strikes(kind="t2t", account=name, throw=1) for name in "abc"] == [False, True, False]


def test_a_rate_strikes_its_share_and_the_same_ones_again():
    fault = parse("server_error;rate=0.3")
    struck = [fault.strikes(kind="t2t", account="a", throw=throw) for throw in range(2000)]
    assert 0.25 < sum(struck) / len(struck) < 0.35
    assert struck == [fault.strikes(kind="t2t", account="a", throw=throw) for throw in range(2000)]


def test_a_rate_of_nothing_strikes_nobody_and_accounts_fare_apart():
    assert not any(parse("cut;rate=0").strikes(kind="t2t", account="a", throw=throw) for throw in range(200))
    fault = parse("cut;rate=0.5")
    fates = [[fault.strikes(kind="t2t", account=name, throw=throw) for throw in range(50)] for name in "ab"]
    assert fates[0] != fates[1]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("rate_limit", errors.RateLimited),
        ("daily_quota", errors.QuotaExhausted),
        ("bad_key", errors.CredentialRejected),
        ("no_balance", errors.BalanceExhausted),
        ("server_error", errors.UpstreamFailed),
        ("unreachable", errors.UpstreamUnreachable),
        ("refused", errors.ContentRefused),
        ("challenge", errors.Challenged),
    ],
)
def test_a_refusal_is_the_error_its_name_says(line: str, kind: type[errors.GatewayError]):
    assert type(refusal(parse(line), now=NOON)) is kind


def test_a_refusal_carries_what_the_fault_says():
    limited = refusal(parse("rate_limit;retry_after=7"), now=NOON)
    assert limited is not None
    assert limited.retry_after == 7
    failed = refusal(parse("server_error;status=503"), now=NOON)
    assert failed is not None
    assert failed.detail == "HTTP 503"
    gone = refusal(parse("unreachable"), now=NOON)
    assert gone is not None
    assert gone.sent == "no"


def test_a_daily_quota_comes_back_at_midnight_in_utc():
    assert until_midnight(NOON) == 12 * 3600
    assert until_midnight(NOON - 12 * 3600) == 24 * 3600
    spent = refusal(parse("daily_quota"), now=NOON)
    assert spent is not None
    assert spent.retry_after == 12 * 3600


@pytest.mark.parametrize("name", sorted(KEYS.keys() - {"cut", "garbage"}))
def test_only_a_cut_and_garbage_break_off(name: str):
    assert interruption(parse(name)) is None


def test_what_breaks_off():
    assert isinstance(interruption(parse("cut")), errors.StreamInterrupted)
    assert isinstance(interruption(parse("garbage")), errors.UpstreamGarbled)


@pytest.mark.parametrize(
    "name", ["silence", "cut", "garbage", "paced", "slow_job", "failed_job", "lost_job", "lost_create"]
)
def test_other_faults_refuse_nothing_beforehand(name: str):
    assert refusal(parse(name), now=NOON) is None


def test_a_pace_is_told_once_and_never_first():
    fault = parse("paced;seconds=7")
    assert [pace(fault, passed) for passed in range(4)] == [None, Paced(7.0), None, None]
    assert pace(parse("paced"), 1) == Paced(60.0)


@pytest.mark.parametrize("name", sorted(KEYS.keys() - {"paced"}))
def test_only_a_paced_account_tells_a_pace(name: str):
    assert pace(parse(name), 1) is None
    assert pace(None, 1) is None
