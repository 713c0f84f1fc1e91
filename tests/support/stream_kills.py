"""A daemon that is killed again and again while somebody writes to its stream."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Self

from esmd.streams.ledger import MOST_BEHIND

from support.daemon import Daemon, Journal, function
from support.stream_world import stream_config, stream_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.stream_world import Source, World

KEYS = [f"key-{n}" for n in range(7)]
BATCH_SIZE = 5
SHARDS = 2
_LINES = 60
"""A kill comes after a number of log lines up to this: some while it starts, most between two of many batches."""


class Traffic:
    """A thread that puts a record of every key, again and again. `rounds` counts how often it has."""

    def __init__(self, world: World, stream: Source, *, keys: Sequence[str] = KEYS, pause: float = 0.02) -> None:
        self._world = world
        self._stream = stream
        self._keys = keys
        self._pause = pause
        self._stop = threading.Event()
        self._error: Exception | None = None
        self.rounds = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._write)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        try:
            while not self._stop.wait(self._pause):
                self._world.put_many(self._stream, [(key, {"n": self.rounds}) for key in self._keys])
                self.rounds += 1
        except Exception as error:
            self._error = error


class Tally:
    """What the handler `tally` wrote down: the numbers of each key, in order of delivery."""

    def __init__(self, path: Path) -> None:
        self.deliveries: dict[str, list[int]] = defaultdict(list)
        for line in path.read_text(encoding="utf-8").splitlines():
            for key, number in json.loads(line):
                self.deliveries[key].append(number)

    @property
    def firsts(self) -> dict[str, list[int]]:
        """The same without what was delivered before."""
        return {key: list(dict.fromkeys(numbers)) for key, numbers in self.deliveries.items()}

    @property
    def duplicates(self) -> int:
        """How many records came again."""
        firsts = self.firsts
        return sum(len(numbers) - len(firsts[key]) for key, numbers in self.deliveries.items())


def kill_again_and_again(
    world: World, folder: Path, *, kills: int, seed: int, pause: float, seconds: float = float("inf")
) -> tuple[Tally, int, int]:
    """Kill a daemon with SIGKILL after a random number of its log lines, then let one read the rest.

    Args:
        kills: how many times.
        pause: between two rounds of the writer, in seconds.
        seconds: no kill comes later than that.

    Returns:
        What was delivered, the rounds that were written, and the kills there were.
    """
    chance = random.Random(seed)
    journal = Journal(folder / "journal.jsonl")
    stream = world.make_stream("killed", shards=SHARDS)
    mappings = {"killed": stream_mapping(stream.arn, "tally", batch_size=BATCH_SIZE)}
    config = stream_config(folder, {"tally": function("tally", journal, timeout=30)}, mappings)
    began, done = time.monotonic(), 0
    with Traffic(world, stream, pause=pause) as traffic:
        while done < kills and time.monotonic() - began < seconds:
            with Daemon(folder, config, environ=world.environ) as daemon:
                lines = chance.randint(1, _LINES)
                daemon.wait_until(lambda n=lines, d=daemon: len(d.log) >= n, what=f"{lines} lines", within=60)
                daemon.signal(signal.SIGKILL)
                assert daemon.exit_code() == -signal.SIGKILL
            done += 1
    with Daemon(folder, config, "--exit-when-idle", "500ms", environ=world.environ) as daemon:
        assert daemon.exit_code(within=300) == 0
    return Tally(journal.path), traffic.rounds, done


def assert_nothing_lost(tally: Tally, rounds: int, kills: int) -> None:
    """Every record came, each key's in order; no kill repeated more than what may not be stored yet.

    That is the batch under way, and as many quick ones as the store may lag behind on a shard.
    """
    assert tally.firsts == {key: list(range(rounds)) for key in KEYS}
    assert tally.duplicates <= kills * SHARDS * (1 + MOST_BEHIND) * BATCH_SIZE
