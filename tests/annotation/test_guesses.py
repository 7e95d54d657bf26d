"""Wrong tokens: each client's are answered later and later, within bounds, and nobody is locked out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from monai_vggunet.annotation.front import guesses
from monai_vggunet.annotation.front.guesses import Guesses, network_of, wait_sec


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a thread of its own: in this one the loop of a browser's tests may run."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def test_the_wait_grows_to_its_limit_and_no_further() -> None:
    waits = [wait_sec(count) for count in range(1, 20)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits == sorted(waits)
    assert waits[-1] == wait_sec(10**9) == guesses.LONGEST_WAIT_SEC


def test_each_client_has_a_count_of_its_own_which_is_forgotten() -> None:
    now = 0.0
    known = Guesses(lambda: now)
    assert [known.note("10.0.0.1") for _ in range(3)] == [1, 2, 3]
    assert known.note("10.0.0.2") == 1
    now += guesses.FORGOTTEN_AFTER_SEC + 1
    assert known.note("10.0.0.1") == 1


def test_many_clients_take_no_more_memory_than_some() -> None:
    known = Guesses()
    for number in range(3 * guesses.MOST_CLIENTS):
        known.note(f"client {number}")
    assert len(known) == guesses.MOST_CLIENTS
    assert known.note(f"client {3 * guesses.MOST_CLIENTS - 1}") == 2
    assert known.note("client 0") == 1  # forgotten


def test_no_more_answers_than_some_are_held_back_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "wait_sec", lambda count: 0.01)
    known = Guesses()

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(known.hold_back(100) for _ in range(guesses.MOST_WAITING + 5)))

    assert sorted(_run(all_at_once())) == [False] * 5 + [True] * guesses.MOST_WAITING
    assert _run(known.hold_back(100))  # there is room again


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64"), ("Doe^Jane\x1b[31m", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_client_is_its_address_and_nothing_it_says_of_itself(address: str, network: str) -> None:
    assert network_of(address) == network
