"""A program that speaks the Runtime API, with the standard library only: it parses each event, counts, answers.

    python -m benchmarks.runtime_client TALLY

with AWS_LAMBDA_RUNTIME_API set.
"""

from __future__ import annotations

import http.client
import json
import os
import sys

from benchmarks.tally import Tally

_PREFIX = "/2018-06-01/runtime/invocation/"


def main() -> None:
    """Serve invocations until killed."""
    tally = Tally(sys.argv[1])
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", _PREFIX + "next")
        answer = connection.getresponse()
        event = json.loads(answer.read())
        tally.add(len(event["Records"]))
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        connection.request("POST", f"{_PREFIX}{request_id}/response", b'{"batchItemFailures":[]}')
        connection.getresponse().read()


if __name__ == "__main__":
    main()
