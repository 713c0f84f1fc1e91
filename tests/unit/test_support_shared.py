"""A server that the processes of a test run share: one at a time, and nobody's ends under him."""

from __future__ import annotations

import contextlib
import threading

from support.shared import shared


def test_one_is_started_and_ends_after_its_last_user(tmp_path):
    told = []

    @contextlib.contextmanager
    def server():
        told.append("started")
        yield "here"
        told.append("stopped")

    first_uses, others_use, first_leaves = threading.Event(), threading.Event(), threading.Event()

    def first():
        with shared(tmp_path, "server", server):
            first_uses.set()
            others_use.wait(10)
            first_leaves.set()

    starter = threading.Thread(target=first)
    starter.start()
    assert first_uses.wait(10)
    with shared(tmp_path, "server", server) as url:
        assert url == "here"
        others_use.set()
        first_leaves.wait(10)
        assert told == ["started"]
        told.append("left")
    starter.join(10)
    assert told == ["started", "left", "stopped"]


def test_who_comes_afterwards_has_another(tmp_path):
    addresses = iter(["one", "two"])
    found = []
    for _ in range(2):
        with shared(tmp_path, "server", lambda: contextlib.nullcontext(next(addresses))) as url:
            found.append(url)
    assert found == ["one", "two"]
