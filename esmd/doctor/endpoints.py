"""Is there an endpoint for each service, what is it, is its clock ours, and does it know us?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esmd.config import aws
from esmd.doctor.findings import advice, ok, problem, without_user
from esmd.doctor.surroundings import LONGEST
from esmd.pollers.errors import classify

if TYPE_CHECKING:
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings

FAILS_SIGNATURES = 300.0
"""Seconds between two clocks from which AWS refuses signatures."""

WORTH_A_WORD = 60.0
"""Seconds between two clocks that are more than a slow line."""

_REFUSED = frozenset(
    {
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "ExpiredToken",
        "ExpiredTokenException",
        "AccessDenied",
        "AccessDeniedException",
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "SSOTokenLoadError",
    }
)


async def check_endpoints(around: Surroundings) -> list[Finding]:
    """Whether somebody answers, and who."""
    findings = []
    for url, probe in around.probes.items():
        where = without_user(url)
        if probe.error is not None:
            fix = "start it, or name another one in aws.endpoint_url or AWS_ENDPOINT_URL"
            findings.append(problem("endpoint", where, f"cannot be reached: {probe.error}", fix=fix))
        else:
            findings.append(ok("endpoint", where, probe.product or "answers"))
    return findings


async def check_clock(around: Surroundings) -> list[Finding]:
    """Whether our clock and the endpoints' are close enough for signatures."""
    findings = []
    for url, probe in around.probes.items():
        if probe.skew is None:
            continue
        where, ahead = without_user(url), "ahead of" if probe.skew > 0 else "behind"
        said = f"its clock is {abs(probe.skew):.0f} s {ahead} ours"
        if abs(probe.skew) > FAILS_SIGNATURES:
            fix = "set this machine's clock, for instance by NTP: signatures more than 5 minutes off are refused"
            findings.append(problem("clock", where, said, fix=fix))
        elif abs(probe.skew) > WORTH_A_WORD:
            fix = "set the clock of one of them, for instance by NTP: signatures fail from 5 minutes on"
            findings.append(advice("clock", where, said, fix=fix))
        else:
            findings.append(ok("clock", where, "its clock is ours"))
    return findings


async def check_credentials(around: Surroundings) -> list[Finding]:
    """Whether there are credentials, and STS accepts them where there is an STS."""
    settings = around.config.aws
    where = aws.endpoint("sts", settings=settings, environ=around.environ)
    chosen = aws.credentials(where, settings=settings, environ=around.environ)
    subject = f"profile {chosen.profile}" if chosen.profile else chosen.kind
    if chosen.kind == "dummy":
        return [ok("credentials", subject, "a local endpoint gets the dummy keys test/test")]
    region = aws.region(where, settings=settings, environ=around.environ) or aws.DEFAULT_REGION
    try:
        async with asyncio.timeout(LONGEST):
            client, _ = await around.clients.client("sts", region)
            identity = await client.get_caller_identity()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is classified and said
        failure = classify(error)
        if failure.code in _REFUSED:
            fix = "see that the keys are right and not expired: aws sts get-caller-identity"
            return [problem("credentials", subject, f"not accepted: {failure.code}: {failure.message}", fix=fix)]
        said = f"cannot be checked, {failure.code}: {failure.message}"
        if where.is_local:
            return [ok("credentials", subject, said)]
        return [advice("credentials", subject, said, fix="see that STS can be reached: aws sts get-caller-identity")]
    return [ok("credentials", subject, f"account {identity.get('Account')}, {identity.get('Arn')}")]
