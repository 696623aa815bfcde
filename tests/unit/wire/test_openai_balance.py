from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import UpstreamGarbled
from gateway.wire.openai_balance import balance


def read(told: Any) -> tuple[float | None, str]:
    found = balance(json.dumps(told).encode())
    return found.amount, found.unit


@pytest.mark.parametrize(
    ("told", "amount", "unit"),
    [
        ({"data": {"total_credits": 100.5, "total_usage": 25.25}}, 75.25, "credits"),
        ({"data": {"total_credits": 5, "total_usage": 7}}, -2.0, "credits"),
        ({"total_credits": "10", "total_usage": "4"}, 6.0, "credits"),
        ({"data": {"label": "mine", "limit": 20, "usage": 3, "limit_remaining": 17}}, 17.0, "credits"),
        ({"data": {"limit": None, "usage": 3, "limit_remaining": None}}, None, "credits"),
        ({"balance": 12.5, "currency": "EUR"}, 12.5, "EUR"),
        ({"balance": 0, "currency": ""}, 0.0, "credits"),
        ({"code": 0, "data": {"available_balance": 49.58, "voucher_balance": 46.5}, "status": True}, 49.58, "credits"),
        ({"is_available": True, "balance_infos": [{"currency": "CNY", "total_balance": "110.00"}]}, 110.0, "CNY"),
        (
            {"balance_infos": [{"currency": "CNY", "balance": "1"}, 7, {"currency": "USD", "balance": "2"}]},
            2.0,
            "USD",
        ),
    ],
)
def test_each_shape_tells_what_is_left(told: Any, amount: float | None, unit: str) -> None:
    assert read(told) == (amount, unit)


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        7,
        None,
        "12.5",
        {"data": []},
        {"data": {"total_credits": 5}},
        {"data": {"limit_remaining": "much"}},
        {"balance": None},
        {"balance": True},
        {"balance": "nan"},
        {"balance": {"amount": 5}},
        {"balance_infos": []},
        {"error": {"message": "no"}},
    ],
)
def test_what_tells_no_amount_is_no_balance(told: Any) -> None:
    with pytest.raises(UpstreamGarbled):
        read(told)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"balance": ', b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_no_balance(body: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        balance(body)


def test_the_detail_is_numbers_and_never_words() -> None:
    told = {"label": "sk-or-v1-secret", "usage": 3, "limit": "20", "limit_remaining": 17, "is_free_tier": False}
    found = balance(json.dumps({"data": told}).encode())
    assert found.detail == {"usage": 3.0, "limit": 20.0, "limit_remaining": 17.0}


def test_an_error_says_which_members_there_were_and_not_what_they_held() -> None:
    with pytest.raises(UpstreamGarbled) as caught:
        read({"data": {"label": "sk-or-v1-secret", "hash": "abc"}})
    assert caught.value.detail == "members: label, hash"
