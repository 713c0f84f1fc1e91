"""Which credentials a handler's AWS clients find, by the very resolver that they use."""

from __future__ import annotations

import os

import botocore.session
import pytest

from esmd.config.aws import DUMMY_KEY
from esmd.invoke.credentials import handler_credentials

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA-DAEMON", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}


@pytest.fixture
def home(clean_environment):
    """A home folder with credentials in every place that an SDK looks at."""
    folder = clean_environment / ".aws"
    folder.mkdir()
    text = "aws_access_key_id = AKIA-{0}\naws_secret_access_key = secret\n"
    (folder / "credentials").write_text(f"[default]\n{text.format('FILE')}[other]\n{text.format('OTHER')}")
    (folder / "config").write_text(f"[default]\n{text.format('CONFIG')}")
    (clean_environment / ".boto").write_text(f"[Credentials]\n{text.format('BOTO')}")
    return clean_environment


def found(monkeypatch, variables):
    """The access key that botocore finds in a process with these variables, and the home folder."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # no test asks the network
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    credentials = botocore.session.Session().get_credentials()
    return None if credentials is None else credentials.access_key


@pytest.mark.parametrize(
    ("kind", "daemon", "dummy", "key"),
    [
        ("none", {}, False, None),
        ("none", KEYS, False, None),
        ("none", {"AWS_PROFILE": "other"}, False, None),
        ("none", {}, True, DUMMY_KEY),
        ("none", KEYS, True, DUMMY_KEY),
        ("inherit", {}, False, "AKIA-FILE"),
        ("inherit", KEYS, False, "AKIA-DAEMON"),
        ("inherit", {"AWS_PROFILE": "other"}, False, "AKIA-OTHER"),
        ("inherit", {}, True, DUMMY_KEY),
        ("inherit", {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull}, False, "AKIA-BOTO"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_handler_finds(monkeypatch, kind, daemon, dummy, key):
    assert found(monkeypatch, handler_credentials(kind, daemon=daemon, dummy=dummy)) == key


def test_nothing_of_the_daemons_is_handed_on_unless_it_is_to_be(monkeypatch):
    variables = handler_credentials("none", daemon=KEYS | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, dummy=False)
    assert variables == {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "BOTO_CONFIG": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_all_that_leads_to_credentials_is_inherited_and_nothing_else():
    leading = {
        **KEYS,
        "AWS_PROFILE": "other",
        "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/daemon",
        "AWS_ROLE_SESSION_NAME": "daemon",
        "AWS_CONFIG_FILE": "/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/credentials",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/token",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/credentials",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/container-token",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    daemon = leading | {"DATABASE_PASSWORD": "secret", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    assert handler_credentials("inherit", daemon=daemon, dummy=False) == leading


def test_a_file_is_found_from_another_working_directory(tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    daemon = {"AWS_CONFIG_FILE": "aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
    assert handler_credentials("inherit", daemon=daemon, dummy=False) == {
        "AWS_CONFIG_FILE": str(tmp_path / "aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
    }
