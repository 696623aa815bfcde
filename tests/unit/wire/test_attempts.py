from gateway.errors import Attempt
from gateway.wire.attempts import MOST_BYTES, MOST_LISTED, MOST_REASON, account_header, attempts_header, attempts_json


def attempt(number: int = 1, *, account: str = "", reason: str = "", seconds: float = 0.214) -> Attempt:
    return Attempt("openai", account or f"openai/{number}", "upstream_rate_limited", seconds, reason)


def test_attempts_are_told_in_order() -> None:
    tried = [attempt(account="openai/a"), Attempt("openai", "openai/b", "ok", 1.4)]
    assert attempts_header(tried) == b"openai/a upstream_rate_limited 0.21s, openai/b ok 1.4s"


def test_seconds_are_as_exact_as_they_are_short() -> None:
    told = [attempts_header([attempt(seconds=seconds)]).split()[-1] for seconds in (0.0, 0.999, 9.96, 123.44)]
    assert told == [b"0.00s", b"1.00s", b"10.0s", b"123.4s"]


def test_a_name_cannot_break_out_of_its_place() -> None:
    odd = "openai/a b, c\r\nx: y é"
    assert attempts_header([attempt(account=odd)]) == b"openai/a_b__c__x:_y__ upstream_rate_limited 0.21s"
    assert account_header("openai/a b, c\r\né") == b"openai/a b, c___"


def test_of_very_many_the_last_are_told() -> None:
    told = attempts_header([attempt(number) for number in range(500)]).decode()
    first, *rest = told.split(", ")
    assert len(told) <= MOST_BYTES + len("500 earlier, ")
    assert first == f"{500 - len(rest)} earlier"
    assert rest[-1].startswith("openai/499 ")
    assert rest[0].startswith(f"openai/{500 - len(rest)} ")
    listed = attempts_json([attempt(number) for number in range(500)])
    assert [one["account"] for one in listed] == [f"openai/{number}" for number in range(500 - MOST_LISTED, 500)]


def test_a_body_tells_the_reason_where_there_is_one() -> None:
    assert attempts_json([attempt(reason="too fast"), attempt(seconds=1.23456)]) == [
        {
            "upstream": "openai",
            "account": "openai/1",
            "outcome": "upstream_rate_limited",
            "seconds": 0.214,
            "reason": "too fast",
        },
        {"upstream": "openai", "account": "openai/1", "outcome": "upstream_rate_limited", "seconds": 1.235},
    ]
    [long] = attempts_json([attempt(reason="x" * 10_000)])
    assert long["reason"] == "x" * MOST_REASON


def test_nothing_tried_is_an_empty_list() -> None:
    assert (attempts_header([]), attempts_json([])) == (b"", [])
