"""Recorded facts of AWS, on the real daemon and real servers: all scenarios of a server at once, judged one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.servers import MissingServerError, Server, probed, running
from conformance.stage import Stage, scenarios
from conformance.subjects import Esmd

from support.servers import LOCALSTACK_KINESIS
from support.stream_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.stage import Result

pytestmark = pytest.mark.server

WITHIN = 120.0
SCENARIOS = scenarios()
SUBJECTS = [
    ("ministack", "wire"),
    ("ministack", "botocore"),
    ("kinesis-local", "wire"),
    ("localstack", "wire"),
    pytest.param("kinesis-local", "botocore", marks=pytest.mark.slow),
    pytest.param("localstack", "botocore", marks=pytest.mark.slow),
]
"""The servers, and the client by which the daemon talks to each. Every day botocore is tried on one of them."""


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param != "kinesis-local":  # runs already, for the other tests
        url = request.getfixturevalue(request.param)
        if request.param == "localstack" and LOCALSTACK_KINESIS.exists():
            request.getfixturevalue("localstack_kinesis")
        with World(kinesis=url, others=url) as world:
            yield Server(request.param, url, url, dict(probed(world, only_kinesis=False)), has_mappings=True)
        return
    try:
        with running(request.param) as started:
            yield started
    except MissingServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp(f"{server.name}-{request.param}")
    found = Stage(server, folder).run(Esmd(client=request.param), SCENARIOS, within=WITHIN)
    return {result.scenario: result for result in found}


@pytest.mark.parametrize(("server", "results"), SUBJECTS, indirect=True, scope="module")
@pytest.mark.parametrize("name", [each.name for each in SCENARIOS])
def test_what_aws_was_recorded_to_do(results: dict[str, Result], name: str) -> None:
    result = results[name]
    if result.verdict == "cannot":
        pytest.skip(f"this server cannot: {result.why}")
    assert result.why == ""
