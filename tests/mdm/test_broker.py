import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from mdm import broker, worker_beat
from mdm.broker import BEAT, NotifyingBroker, give_worker_back
from mdm.models import WorkerBeat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue() -> Iterator[NotifyingBroker]:
    """A cluster's end of the queue, its worker idle and its first beat long due."""
    queue = NotifyingBroker("nexmdm")
    queue._next_beat = time.monotonic() + 3600
    yield queue
    while broker.WORKER_FREE.acquire(block=False):
        pass
    give_worker_back()


def taken(queue: NotifyingBroker) -> list[str]:
    return [SignedPackage.loads(payload)["func"] for _, payload in queue.dequeue()]


def test_tasks_come_in_the_order_in_which_they_were_queued_one_per_idle_worker(
    queue: NotifyingBroker,
) -> None:
    for name in ("a", "b"):
        async_task(name)
    assert taken(queue) == ["a"]
    assert taken(queue) == [], "the worker is busy: another cluster may have the second one"
    give_worker_back()
    assert taken(queue) == ["b"]


def test_a_task_queued_in_a_transaction_comes_with_its_commit_and_wakes_who_waits(
    queue: NotifyingBroker,
) -> None:
    committed = threading.Event()

    def enqueue() -> None:
        with transaction.atomic():
            async_task("late")
            committed.wait(0.3)
        connection.close()

    other = threading.Thread(target=enqueue)
    other.start()
    found = taken(queue) or taken(queue)
    other.join()
    assert found == ["late"]


def test_a_claimed_task_is_not_claimed_again_until_it_is_given_up(queue: NotifyingBroker) -> None:
    async_task("once")
    assert taken(queue) == ["once"]
    give_worker_back()
    assert taken(queue) == []
    OrmQ.objects.update(lock="2020-01-01T00:00:00Z")
    assert taken(queue) == ["once"], "its worker died: the task is handed out again"


def test_two_clusters_never_take_the_same_task(queue: NotifyingBroker) -> None:
    async_task("mine")
    with transaction.atomic():
        assert len(queue._claim()) == 1
        seen: list[int] = []

        def look() -> None:
            seen.append(len(NotifyingBroker("nexmdm")._claim()))
            connection.close()

        other = threading.Thread(target=look)
        other.start()
        other.join(5)
        assert seen == [0], "it neither waits for the row nor takes it"


def test_a_task_that_cannot_be_read_is_dropped_and_does_not_block_the_worker(queue: NotifyingBroker) -> None:
    async_task("good")
    task_id = queue.dequeue()[0][0]
    queue.fail(task_id)
    assert not OrmQ.objects.exists()
    async_task("next")
    assert taken(queue) == ["next"]


def test_a_beat_is_recorded_only_when_it_has_come_back(queue: NotifyingBroker) -> None:
    queue._next_beat = 0.0
    ((task_id, payload),) = queue.dequeue()
    assert task_id == BEAT
    assert SignedPackage.loads(payload)["func"] == "mdm.worker_beat.pulse"
    assert not WorkerBeat.objects.exists()
    queue.acknowledge(task_id)
    (age,) = worker_beat.ages("worker").values()
    assert 0 <= age < 60


def test_a_queue_that_cannot_be_read_is_read_again(queue: NotifyingBroker) -> None:
    assert taken(queue) == []
    connection.connection.close()
    assert taken(queue) == []
    async_task("after the outage")
    assert taken(queue) == ["after the outage"]


def test_what_stopped_long_ago_is_forgotten() -> None:
    WorkerBeat.objects.create(name="old", part="worker", beat_at="2020-01-01T00:00:00Z")
    worker_beat.beat("worker")
    worker_beat.forget_the_gone()
    assert not WorkerBeat.objects.filter(name="old").exists()
    assert WorkerBeat.objects.count() == 1
