"""The section `api`: what is taken, what is refused and where, and that a token is never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from esmd.config.api_schema import host_and_port, is_loopback
from esmd.config.loader import load

REST = (
    "functions: {f: {handler: m.f}}\nmappings: {a: {Queue: 'arn:aws:sqs:us-east-1:000000000000:q', FunctionName: f}}\n"
)
TOKEN = "0123456789abcdef"


def loaded(tmp_path: Path, api: str):
    path = tmp_path / "esmd.yaml"
    path.write_text(f"api: {api}\n{REST}", encoding="utf-8")
    return load([path], environ={"TOKEN": TOKEN})


def test_without_the_section_the_api_is_a_socket_that_the_daemon_chooses(tmp_path):
    api = loaded(tmp_path, "{}").config.api
    assert (api.enabled, api.socket, api.listen, api.token, api.hosts) == (True, None, None, None, ())


def test_a_socket_is_relative_to_its_file_and_a_token_comes_from_the_environment(tmp_path):
    api = loaded(
        tmp_path, "{socket: run/esmd.sock, listen: '0.0.0.0:4580', token: '${TOKEN}', hosts: [esmd.lan]}"
    ).config.api
    assert api.socket == tmp_path / "run" / "esmd.sock"
    assert api.token.get_secret_value() == TOKEN
    assert TOKEN not in repr(api)
    assert TOKEN not in api.model_dump_json()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]"])
def test_loopback_needs_no_token(tmp_path, host):
    assert loaded(tmp_path, f"{{listen: '{host}:4580'}}").config.api.listen == f"{host}:4580"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "esmd.lan"])  # noqa: S104
def test_a_host_that_others_can_reach_needs_a_token_and_that_is_said_at_its_place(tmp_path, host):
    result = loaded(tmp_path, f"{{listen: '{host}:4580'}}")
    assert result.config is None
    [error] = result.diagnostics
    assert (error.line, error.column, error.path) == (1, 15, "api.listen")
    assert "without a token" in error.message
    assert "set api.token" in error.hint


@pytest.mark.parametrize(
    "text",
    ["4580", "127.0.0.1", ":4580", "127.0.0.1:", "127.0.0.1:70000", "::1:80", "[1.2.3.4]:80", "a b:1", "h:-1", "h:٣"],
)
def test_what_is_not_host_and_port_is_refused(tmp_path, text):
    [error] = loaded(tmp_path, f"{{listen: '{text}'}}").diagnostics
    assert (error.path, error.message) == ("api.listen", "must be HOST:PORT, such as 127.0.0.1:4580 or [::1]:4580")


@pytest.mark.parametrize(
    "token", ["'short-secret'", "123456789012345678", "'with space 0123456789'", "[secretsecretsecret]"]
)
def test_a_bad_token_is_refused_without_being_repeated(tmp_path, token):
    result = loaded(tmp_path, f"{{token: {token}}}")
    [error] = result.diagnostics
    assert error.path == "api.token"
    assert not any(piece in str(error) for piece in ("secret", "1234"))


def test_two_files_may_say_the_same_of_the_api_but_not_two_things(tmp_path):
    (tmp_path / "a.yaml").write_text(f"api: {{listen: '127.0.0.1:1'}}\n{REST}", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("api: {listen: '127.0.0.1:2'}\n", encoding="utf-8")
    result = load([tmp_path / "a.yaml", tmp_path / "b.yaml"], environ={})
    [error] = result.diagnostics
    assert error.message.startswith("differs from that at")


def test_where_the_api_is_can_be_read_though_other_sections_have_errors(tmp_path):
    wrong = REST.replace("FunctionName: f", "FunctionName: nope")
    (tmp_path / "esmd.yaml").write_text(f"api: {{socket: here.sock}}\n{wrong}", encoding="utf-8")
    result = load([tmp_path / "esmd.yaml"], environ={})
    assert result.config is None
    assert result.api.socket == tmp_path / "here.sock"


def test_the_file_of_each_mapping_is_known(tmp_path):
    config = loaded(tmp_path, "{}").config
    assert config.file_of == {"a": tmp_path / "esmd.yaml"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:4580", ("::1", 4580)), ("esmd.lan:80", ("esmd.lan", 80))],
)
def test_host_and_port(text, parts):
    assert host_and_port(text) == parts


def test_a_name_that_only_looks_like_loopback_is_none():
    assert not is_loopback("localhost.evil.example")
    assert not is_loopback("127.0.0.1.evil.example")
