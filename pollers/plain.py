"""Where and as whom a service is called, found without botocore where nothing but the plain is said.

botocore takes a fifth of the daemon's memory, and of its way to the first receive. It need not be asked if all of this
is so; otherwise there is no answer here, and botocore has it:

| what                             | plain if                                                                            |
|----------------------------------|-------------------------------------------------------------------------------------|
| endpoint                         | one is named, and is `http://host` or `http://host:port`                             |
| region                           | one is named, and looks like AWS's own                                              |
| profile                          | none is named                                                                       |
| credentials                      | those for local endpoints, or access key and secret in the environment               |
| variables `AWS_*` and `BOTO*`    | there are none but those of `_HARMLESS`, which change nothing of this               |
| `~/.aws/config`, `credentials`   | not there, or they set nothing but `_SILENT`, in any profile                        |
| `~/.aws/models`                  | not there: it may define a service anew                                             |
| proxies of the environment       | none is for this endpoint                                                           |

A variable or setting that a later botocore brings is in none of these lists, and so is botocore's to understand.
What concerns TLS only, such as `AWS_CA_BUNDLE`, changes nothing of http.
"""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined] # undocumented

from esmd.pollers.sigv4 import Keys
from esmd.pollers.wire import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDPOINT = re.compile(
    r"http://(?P<host>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")
_KEY = re.compile(r"[!-~]+")

_HARMLESS = frozenset(
    {
        # asked for here, or by esmd.config.aws
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        # for TLS
        "AWS_CA_BUNDLE",
        # for credentials that are not looked for
        "AWS_EC2_METADATA_DISABLED",
        # for the aws-cli
        "AWS_CLI_AUTO_PROMPT",
        "AWS_DEFAULT_OUTPUT",
        "AWS_PAGER",
    }
)
_ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
"""Begins the names of variables that the endpoint which was named stands above."""

_SILENT = re.compile(
    r"region|output|ca_bundle|cli_[a-z_]+"  # named otherwise, for TLS, for the aws-cli
    r"|aws_access_key_id|aws_secret_access_key|aws_session_token|credential_process|credential_source"
    r"|role_arn|role_session_name|source_profile|external_id|mfa_serial|duration_seconds|sso_(?!session)[a-z_]+"
)
"""Settings of botocore's files that change nothing: credentials of the environment and explicit ones come first. But not
`sso_session`: a client looks for what it names, whatever its credentials."""

_SIGNED_AS = {"dynamodbstreams": "dynamodb"}
"""The name to sign for, where it is not the client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """How a service is called.

    Attributes:
        service: botocore's name of the client.
        endpoint_url: scheme, host and, if it is named, port.
        region: to sign for.
        keys: to sign with; they never change.
    """

    service: str
    endpoint_url: str
    region: str
    keys: Keys

    @property
    def route(self) -> Route:
        """Where calls of a JSON protocol go."""
        service = _SIGNED_AS.get(self.service, self.service)
        return Route(url=f"{self.endpoint_url}/", region=self.region, service=service)


def plain(
    service: str, *, endpoint_url: str | None, region: str | None, dummy: Keys | None, environ: Mapping[str, str]
) -> Plain | None:
    """By the module's table; None where botocore has to be asked.

    Args:
        service: botocore's name of the client.
        endpoint_url: that was named; None for none.
        region: that was named; None for none.
        dummy: to be used instead of all others; None for those of the environment.
        environ: of this process: botocore reads no other.
    """
    if endpoint_url is None or not _is_plain_url(endpoint_url):
        return None
    if region is None or not _REGION.fullmatch(region) or "fips" in region:
        return None
    if not _are_harmless(environ) or not _are_silent(environ) or _is_proxied(endpoint_url):
        return None
    keys = dummy or _keys(environ)
    return None if keys is None else Plain(service=service, endpoint_url=endpoint_url, region=region, keys=keys)


def _is_plain_url(url: str) -> bool:
    match = _ENDPOINT.fullmatch(url)
    return match is not None and len(match["host"]) < 256 and int(match["port"] or 80) < 65_536


def _are_harmless(environ: Mapping[str, str]) -> bool:
    return all(
        name in _HARMLESS or name.startswith(_ENDPOINT_VARIABLE) or not name.upper().startswith(("AWS_", "BOTO"))
        for name in environ
    )


def _are_silent(environ: Mapping[str, str]) -> bool:
    return (
        _is_silent(environ.get("AWS_CONFIG_FILE", "~/.aws/config"))
        and _is_silent(environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
        and not os.path.exists(_expanded("~/.aws/models"))  # noqa: PTH110 - as `_expanded`
    )


def _is_silent(path: str) -> bool:
    """Whether one of botocore's files says nothing that matters; read as botocore reads it."""
    path = _expanded(path)
    if not os.path.isfile(path):  # noqa: PTH113 - as `_expanded`
        return True
    parser = configparser.RawConfigParser()
    try:
        parser.read([path])
        values = [
            (name, parser.get(section, name)) for section in parser.sections() for name in parser.options(section)
        ]
    except (configparser.Error, UnicodeDecodeError):
        return False
    return all(_SILENT.fullmatch(name) and "\n" not in value for name, value in values)


def _expanded(path: str) -> str:
    # Unlike pathlib's, it leaves a `~` that nobody can resolve as it is, as botocore does.
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111


def _is_proxied(url: str) -> bool:
    return bool(getproxies().get("http")) and not proxy_bypass_environment(urlsplit(url).netloc)


def _keys(environ: Mapping[str, str]) -> Keys | None:
    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    token = environ.get("AWS_SESSION_TOKEN") or None
    if all(_KEY.fullmatch(each) for each in (access_key, secret_key, token or "none")):
        return Keys(access_key, secret_key, token)
    return None
