"""Where AWS is, and who we are there: endpoint, region and credentials, decided without asking anybody.

The endpoint of a service, first match:

| source                            | notes                                                                           |
|-----------------------------------|---------------------------------------------------------------------------------|
| `aws.endpoint_url`                | of the configuration                                                            |
| `AWS_ENDPOINT_URL_<SERVICE>`      | not if `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is true                            |
| `AWS_ENDPOINT_URL`                | not if `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is true                            |
| `LOCALSTACK_HOST`                 | `host[:port]`, else port 4566; https if `USE_SSL`; as LocalStack's tools read it |
| nothing                           | `url` is None: botocore looks into the profile, then takes AWS itself           |

Credentials:

| endpoint        | named by the user                         | credentials                                           |
|-----------------|-------------------------------------------|-------------------------------------------------------|
| any             | `aws.profile`                             | that profile                                          |
| local           | access key and secret in the environment  | those                                                 |
| local           | `AWS_PROFILE`                             | that profile                                          |
| local           | nothing                                   | `test`/`test`: no default profile, no instance role   |
| not local       | anything else                             | botocore's usual chain                                |

Region: `aws.region`, `AWS_REGION`, `AWS_DEFAULT_REGION`; else `us-east-1` for a local endpoint where no profile is
named; else botocore's business (None).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.schema import AwsSettings

DEFAULT_REGION = "us-east-1"
"""Region for local endpoints where the user names none."""

DUMMY_KEY = "test"
"""Access key and secret for local endpoints where the user names none."""

_LOCALSTACK_PORT = 4566

# Where the service id, which names the variable, is not the upper-case client name.
_SERVICE_IDS = {"dynamodbstreams": "DYNAMODB_STREAMS"}

_LOCAL_DOMAINS = (".localhost", ".localstack.cloud", ".docker.internal", ".containers.internal")

# A letter first: a number such as 2130706433 or 0x7f000001 is an IPv4 address to many resolvers.
_CONTAINER = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is.

    Attributes:
        url: None where botocore decides; ask `is_local` and `remote_refusal` again about what it decides.
        source: the setting that won, as the user knows it; `AWS` where there is none.
        is_local: whether nothing behind it can be somebody's production.
    """

    url: str | None
    source: str
    is_local: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """Which credentials to use.

    Attributes:
        kind: `dummy` is `DUMMY_KEY` twice; `environment` the keys of the environment; `profile` that of `profile`;
            `chain` whatever botocore finds.
        profile: its name where `kind` is `profile`, or where the chain should start from it.
    """

    kind: Literal["dummy", "environment", "profile", "chain"]
    profile: str | None = None


def endpoint(service: str, *, settings: AwsSettings, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint of a service, by the table above.

    Args:
        service: boto's client name, such as `sqs` or `dynamodbstreams`.
        settings: the `aws` section.
        environ: the environment.
    """
    if settings.endpoint_url:
        return _endpoint(settings.endpoint_url, "aws.endpoint_url")
    if not _is_true(environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "")):
        service_id = _SERVICE_IDS.get(service, service.upper().replace("-", "_"))
        for name in (f"AWS_ENDPOINT_URL_{service_id}", "AWS_ENDPOINT_URL"):
            if environ.get(name):
                return _endpoint(environ[name], name)
    if environ.get("LOCALSTACK_HOST"):
        return _endpoint(_localstack_url(environ["LOCALSTACK_HOST"], environ), "LOCALSTACK_HOST")
    return Endpoint(None, "AWS", is_local=False)


def region(where: Endpoint, *, settings: AwsSettings, environ: Mapping[str, str]) -> str | None:
    """The region for what has none in its ARN; None where botocore should look into the profile.

    For a local endpoint with a profile that has none either, `DEFAULT_REGION` is the caller's last resort.
    """
    named = settings.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if named:
        return named
    profile = settings.profile or environ.get("AWS_PROFILE")
    return DEFAULT_REGION if where.is_local and not profile else None


def credentials(where: Endpoint, *, settings: AwsSettings, environ: Mapping[str, str]) -> Credentials:
    """The credentials for an endpoint, by the table above.

    Real ones are never sent to a local endpoint because they happened to lie in a default profile.
    """
    if settings.profile:
        return Credentials("profile", settings.profile)
    if not where.is_local:
        return Credentials("chain")
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        return Credentials("environment")
    if environ.get("AWS_PROFILE"):
        return Credentials("profile", environ["AWS_PROFILE"])
    return Credentials("dummy")


def remote_refusal(url: str | None) -> str | None:
    """Why an endpoint is refused; None for a local one. `aws.allow_remote` lifts the refusal; a caller asks it first.

    Args:
        url: the endpoint in the end, profile looked at; None for AWS itself.
    """
    if url is not None and is_local(url):
        return None
    if url is not None and not url.startswith(("http://", "https://")):
        return f"the endpoint {url} is not a URL: it must start with http:// or https://"
    what = "no endpoint is configured, so this would be AWS itself" if url is None else f"{url} is not a local endpoint"
    return (
        f"{what}: refused, so that nobody's production is polled by accident. Name a local endpoint in"
        " aws.endpoint_url or AWS_ENDPOINT_URL, or allow this one with aws: {allow_remote: true} or --allow-remote"
    )


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine, a private network, a container or LocalStack.

    Decided from the text alone: no name is resolved, because the answer could change before it is used.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.endswith(_LOCAL_DOMAINS) or bool(_CONTAINER.fullmatch(host))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_private or address.is_loopback or address.is_link_local


def _endpoint(url: str, source: str) -> Endpoint:
    return Endpoint(url.rstrip("/"), source, is_local=is_local(url))


def _localstack_url(host: str, environ: Mapping[str, str]) -> str:
    scheme = "https" if _is_true(environ.get("USE_SSL", "")) else "http"
    has_port = re.search(r":[0-9]+$", host) and (host.count(":") == 1 or "]:" in host)
    return f"{scheme}://{host}" if has_port else f"{scheme}://{host.rstrip(':')}:{_LOCALSTACK_PORT}"


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true")
