"""What waits to be sent: in order, each once, bounded."""

from gateway.state.outbox import BATCH, OUTBOX, Outbox


def test_topics_are_sent_in_order_and_each_once() -> None:
    outbox = Outbox()
    for topic in ("a", "b", "a", "c"):
        outbox.put(topic)
    assert outbox.take() == ["a", "b", "c"]
    assert not outbox.filled.is_set()


def test_a_topic_that_comes_while_it_is_being_sent_is_sent_again() -> None:
    outbox = Outbox()
    outbox.put("a")
    assert outbox.take() == ["a"]
    outbox.put("a")
    assert outbox.filled.is_set()
    assert outbox.take() == ["a"]


def test_a_batch_has_a_limit_and_the_rest_waits() -> None:
    outbox = Outbox()
    for number in range(BATCH + 1):
        outbox.put(str(number))
    assert len(outbox.take()) == BATCH
    assert outbox.filled.is_set()
    assert outbox.take() == [str(BATCH)]


def test_what_was_not_sent_comes_first_again() -> None:
    outbox = Outbox()
    outbox.put("a")
    outbox.put("b")
    batch = outbox.take()
    outbox.put("c")
    outbox.put("b")
    outbox.put_back(batch)
    assert outbox.filled.is_set()
    assert outbox.take() == ["a", "b", "c"]


def test_the_oldest_give_way() -> None:
    outbox = Outbox()
    for number in range(OUTBOX + 3):
        outbox.put(str(number))
    batch = outbox.take()
    assert (batch[0], len(batch) + len(outbox.waiting)) == ("3", OUTBOX)
    for number in range(BATCH):
        outbox.put(f"more {number}")
    outbox.put_back(batch)
    assert len(outbox.waiting) == OUTBOX
    assert "3" not in outbox.waiting
    assert f"more {BATCH - 1}" in outbox.waiting
