"""Where a daemon is looked for, by what was said and by what stands in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from esmd.api.address import default_socket, find
from esmd.config.schema import ApiSettings, Config

CONFIG = Config(api=ApiSettings(socket=Path("/run/mine.sock"), token="0123456789abcdef"))


@pytest.mark.parametrize(
    ("given", "environ", "config", "expected"),
    [
        ("http://h:1/", {}, None, "http://h:1"),
        ("/a.sock", {"ESMD_API": "http://h:1"}, None, "/a.sock"),
        (None, {"ESMD_API": "http://h:1", "ESMD_SOCKET": "/b.sock"}, CONFIG, "http://h:1"),
        (None, {"ESMD_SOCKET": "/b.sock"}, CONFIG, "/b.sock"),
        (None, {"XDG_RUNTIME_DIR": "/run/user/1"}, CONFIG, "/run/mine.sock"),
        (None, {"XDG_RUNTIME_DIR": "/run/user/1"}, None, "/run/user/1/esmd/esmd.sock"),
        (None, {"XDG_RUNTIME_DIR": "relative", "HOME": "/h"}, None, "/h/.local/state/esmd/esmd.sock"),
        (None, {"XDG_STATE_HOME": "/s"}, None, "/s/esmd/esmd.sock"),
    ],
)
def test_the_first_that_is_said_wins(given, environ, config, expected):
    assert str(find(given, environ=environ, config=config)) == expected


def test_the_token_of_a_url_comes_from_the_environment_else_from_the_configuration():
    assert find("http://h:1", environ={"ESMD_API_TOKEN": "x"}, config=CONFIG).token == "x"
    assert find("http://h:1", environ={}, config=CONFIG).token == "0123456789abcdef"
    assert find("http://h:1", environ={}).token is None


def test_a_socket_is_shown_no_token_and_an_address_never_repeats_one():
    assert find("/a.sock", environ={"ESMD_API_TOKEN": "x"}, config=CONFIG).token is None
    assert "0123" not in repr(find("http://h:1", environ={}, config=CONFIG))


def test_an_empty_variable_is_none():
    assert default_socket({"ESMD_SOCKET": "", "XDG_RUNTIME_DIR": "", "HOME": "/h"}) == Path(
        "/h/.local/state/esmd/esmd.sock"
    )
