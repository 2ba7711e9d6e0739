from __future__ import annotations

import threading
import time

import numpy as np

from daydreamer.learner.publisher import Publisher
from daydreamer.wire.weights import unpack_weights


def arrays(value: float) -> dict[str, np.ndarray]:
    return {"w": np.full(3, value, np.float32)}


class Sink:
    def __init__(self) -> None:
        self.versions: list[int] = []
        self.blobs: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, version: int, blob: bytes) -> None:
        self.gate.wait(10)
        self.versions.append(version)
        self.blobs.append(blob)

    def wait(self, count: int) -> None:
        deadline_s = time.monotonic() + 10
        while len(self.versions) < count and time.monotonic() < deadline_s:
            time.sleep(0.002)


def test_weights_are_due_after_enough_updates_and_enough_time() -> None:
    now_s = 0.0
    publisher = Publisher(Sink(), every_updates=10, every_s=2.0, now=lambda: now_s)
    assert not publisher.is_due(0)
    assert publisher.is_due(1)  # the first policy is worth having at once
    publisher.publish_now(arrays(1), 1)
    now_s = 5.0
    assert not publisher.is_due(10)
    assert publisher.is_due(11)
    now_s = 1.0
    assert not publisher.is_due(50)


def test_what_is_published_can_be_unpacked_by_an_actor() -> None:
    sink = Sink()
    Publisher(sink, every_updates=1, every_s=0.0).publish_now(arrays(2.5), 9)
    weights = unpack_weights(sink.blobs[0])
    assert weights.version == 9
    assert weights.tensors["w"].tolist() == [2.5] * 3


def test_only_the_newest_of_what_waits_is_published() -> None:
    sink = Sink()
    sink.gate.clear()
    publisher = Publisher(sink, every_updates=1, every_s=0.0)
    publisher.start()
    publisher.offer(arrays(1), 1)
    deadline_s = time.monotonic() + 10
    while publisher._waiting is not None and time.monotonic() < deadline_s:
        time.sleep(0.002)  # the thread has taken version 1 and stands at the gate
    for version in (2, 3, 4):
        publisher.offer(arrays(version), version)
    sink.gate.set()
    sink.wait(2)
    publisher.close()
    assert sink.versions == [1, 4]
    assert publisher.version == 4


def test_weights_that_are_not_finite_are_not_published_and_the_thread_lives_on() -> None:
    sink = Sink()
    publisher = Publisher(sink, every_updates=1, every_s=0.0)
    publisher.publish_now(arrays(float("nan")), 1)
    publisher.publish_now(arrays(1), 2)
    assert sink.versions == [2]
    assert publisher.refused == 1
