import threading
import time

import pytest
from django.db import DatabaseError, connection

from mdm.models import WorkerBeat
from mdm.ticker import Ticker

pytestmark = pytest.mark.django_db(transaction=True)


class Elsewhere:
    """A ticker on another host: another connection, one round at a time."""

    def __init__(self) -> None:
        self.ticks = 0
        self.ticker = Ticker(self.count)
        self.go, self.done, self.ended = threading.Event(), threading.Event(), False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def count(self) -> None:
        self.ticks += 1

    def work(self) -> None:
        while self.go.wait(30) and not self.ended:
            self.go.clear()
            self.ticker.once()
            self.done.set()
        connection.close()

    def once(self) -> int:
        self.done.clear()
        self.go.set()
        assert self.done.wait(10)
        return self.ticks

    def end(self) -> None:
        self.ended = True
        self.go.set()
        self.thread.join(10)


def test_of_two_tickers_one_works_and_the_other_takes_over_when_it_is_gone() -> None:
    first, second = Elsewhere(), Elsewhere()
    assert (first.once(), second.once(), first.once()) == (1, 0, 2)
    first.end()
    deadline = time.monotonic() + 30  # the database lets go once it has noticed
    while not second.once():
        assert time.monotonic() < deadline
    second.end()


def test_a_ticker_whose_connection_was_cut_leads_again_with_a_new_one() -> None:
    rounds: list[int] = []
    ticker = Ticker(lambda: rounds.append(1))
    ticker.once()
    connection.connection.close()
    for _ in range(3):
        ticker.once()
    assert len(rounds) >= 3
    connection.close()


@pytest.mark.parametrize("error", [DatabaseError("gone"), ValueError("a bug")], ids=["database", "bug"])
def test_a_tick_that_fails_does_not_end_the_ticker(error: Exception) -> None:
    rounds: list[int] = []

    def tick() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise error

    ticker = Ticker(tick)
    ticker.once()
    ticker.once()
    assert len(rounds) == 2
    connection.close()


def test_a_ticker_proves_that_it_is_alive_even_while_another_one_leads() -> None:
    leading = Elsewhere()
    leading.once()
    WorkerBeat.objects.all().delete()
    Ticker(lambda: None).once()
    assert WorkerBeat.objects.filter(part="ticker").count() == 1
    leading.end()


def test_it_ticks_until_it_is_told_to_stop() -> None:
    rounds: list[int] = []
    ticker = Ticker(lambda: rounds.append(1) or ticker.stopping.set())
    ticker.run()
    assert rounds == [1]
    connection.close()
