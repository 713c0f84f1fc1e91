"""Ids: their shape, and that they differ."""

from __future__ import annotations

import uuid

from esmd.observe.ids import new_batch_id, new_request_id


def test_a_request_id_is_a_random_uuid():
    for _ in range(1000):
        text = new_request_id()
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_a_batch_id_is_twelve_hexadecimal_digits():
    for _ in range(1000):
        assert len(new_batch_id()) == 12
        int(new_batch_id(), 16)


def test_ids_differ():
    assert len({new_request_id() for _ in range(10_000)}) == 10_000
    assert len({new_batch_id() for _ in range(10_000)}) == 10_000
