"""Who is at the other end of a loopback connection: from a /proc of our own making, and from the real kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from esmd.invoke import peers
from esmd.invoke.peers import ask_kernel, is_open_in_family, peer, search_list

CLIENT = ("127.0.0.1", 0xABCD)
SERVER = ("127.0.0.1", 0x1F90)
ENVIRONMENT = 100
SOCKET = 777

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


@pytest.fixture
def proc(tmp_path):
    """A folder that a test fills as /proc."""
    (tmp_path / "net").mkdir()
    (tmp_path / "self").mkdir()
    return tmp_path


def add_process(proc, pid, *, session=1, children=(), sockets=(), name="run"):
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "task" / str(pid)).mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S 1 {session} {session} 0 -1\n")
    (folder / "task" / str(pid) / "children").write_text(" ".join(map(str, children)))
    for number, inode in enumerate(sockets):
        (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")


def test_a_socket_of_the_environments_own_process_is_in_the_family(proc):
    add_process(proc, ENVIRONMENT, sockets=[1, SOCKET])
    assert is_open_in_family(SOCKET, ENVIRONMENT, proc=proc)


def test_so_is_one_of_a_descendant_that_began_a_session_of_its_own(proc):
    add_process(proc, ENVIRONMENT, children=[101])
    add_process(proc, 101, children=[102], session=101)
    add_process(proc, 102, sockets=[SOCKET], session=102)
    assert is_open_in_family(SOCKET, ENVIRONMENT, proc=proc)


@pytest.mark.parametrize("name", ["run", "a) S 1 5 5 (b"])
def test_so_is_one_of_a_process_of_its_session_that_has_lost_its_parent(proc, name):
    add_process(proc, ENVIRONMENT)
    add_process(proc, 300, session=ENVIRONMENT, sockets=[SOCKET], name=name)
    assert is_open_in_family(SOCKET, ENVIRONMENT, proc=proc)


def test_a_socket_of_any_other_process_is_not(proc):
    add_process(proc, ENVIRONMENT, sockets=[1, 7, 7770])
    add_process(proc, 300, sockets=[SOCKET])
    assert not is_open_in_family(SOCKET, ENVIRONMENT, proc=proc)


def test_nor_is_one_of_a_process_that_may_not_be_looked_into(proc):
    add_process(proc, ENVIRONMENT, children=[101])  # 101 has ended, or its folder is closed to us
    assert not is_open_in_family(SOCKET, ENVIRONMENT, proc=proc)


def test_a_process_that_is_its_own_descendant_is_looked_at_once(proc):
    # The lists of children are read one after the other, and process ids come round again.
    add_process(proc, ENVIRONMENT, children=[101])
    add_process(proc, 101, children=[ENVIRONMENT, 101])
    assert not is_open_in_family(SOCKET, ENVIRONMENT, proc=proc)


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(client, server, inode=SOCKET, uid=1000):
    return (
        f"   0: {client} {server} 01 00000000:00000000 00:00000000 00000000  {uid}        0 {inode} 1 0 20 4 30 10 -1\n"
    )


little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the rows are written as such a machine does")


@little_endian
@pytest.mark.parametrize(
    ("table", "client", "server"),
    [
        ("tcp", "0100007F:ABCD", "0100007F:1F90"),
        ("tcp6", "0000000000000000FFFF00000100007F:ABCD", "0000000000000000FFFF00000100007F:1F90"),
    ],
)
def test_the_list_names_socket_and_user(proc, table, client, server):
    (proc / "net" / table).write_text(HEAD + row(server, client, inode=5) + row(client, server))
    assert search_list(CLIENT, SERVER, proc=proc) == (SOCKET, 1000)


@little_endian
@pytest.mark.parametrize(
    "rows",
    [
        "",
        row("0100007F:ABCE", "0100007F:1F90"),
        row("0100007F:ABCD", "0100007F:1F91"),
        row("0200007F:ABCD", "0100007F:1F90"),
        row("0100007F:1F90", "0100007F:ABCD"),
        row("0100007F:ABCD", "0100007F:1F90", inode=0),
    ],
)
def test_a_connection_that_is_not_listed_or_has_no_socket_is_gone(proc, rows):
    (proc / "net" / "tcp").write_text(HEAD + rows)
    assert search_list(CLIENT, SERVER, proc=proc) is None


def test_without_a_list_nothing_is_known(proc):
    assert search_list(CLIENT, SERVER, proc=proc) is None


# --- the real thing


@pytest.fixture
def listener():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener


def dual_stack(address):
    """Connect as Java does: by IPv6, to a mapped address."""
    client = socket.socket(socket.AF_INET6)
    client.connect((f"::ffff:{address[0]}", address[1]))
    return client


@linux
@pytest.mark.parametrize("look", [ask_kernel, search_list])
@pytest.mark.parametrize("connect", [socket.create_connection, dual_stack])
def test_both_ways_to_look_find_the_socket_of_a_connection(listener, look, connect):
    server = listener.getsockname()
    with connect(server) as client, listener.accept()[0]:
        address = ("127.0.0.1", client.getsockname()[1])
        assert look(address, server) == (os.fstat(client.fileno()).st_ino, os.getuid())


@linux
@pytest.mark.parametrize("look", [ask_kernel, search_list])
def test_neither_finds_one_that_its_client_has_closed(listener, look):
    server = listener.getsockname()
    with socket.create_connection(server) as client:
        address = client.getsockname()
    with listener.accept()[0]:
        assert look(address, server) is None
        assert peer(address, server, pid=os.getpid()) == peers.Peer("gone")


@linux
def test_who_listens_on_a_port_is_not_taken_for_a_connection_from_it(listener):
    assert ask_kernel(listener.getsockname(), ("127.0.0.1", 9)) is None


@linux
def test_a_connection_is_own_to_the_process_that_has_it_and_to_its_parent_and_foreign_to_others(listener):
    server = listener.getsockname()
    connect = f"import socket, sys; s = socket.create_connection({server}); print(flush=True); sys.stdin.read()"
    with (
        subprocess.Popen([sys.executable, "-c", connect], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other,
    ):
        child.stdout.readline()
        accepted, address = listener.accept()
        with accepted:
            assert peer(address, server, pid=child.pid) == peers.Peer("own", os.getuid())
            assert peer(address, server, pid=os.getpid()).verdict == "own"
            assert peer(address, server, pid=other.pid) == peers.Peer("foreign", os.getuid())
        child.stdin.close()
        other.communicate(b"\n")


@linux
def test_linux_can_tell():
    assert peers.can_tell()


def test_where_neither_way_works_nobody_is_own(monkeypatch, listener):
    monkeypatch.setattr(peers, "_way_to_look", lambda: None)
    assert not peers.can_tell()
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0]:
        assert peer(client.getsockname(), listener.getsockname(), pid=os.getpid()).verdict == "gone"
