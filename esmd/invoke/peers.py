"""Tells which process is at the other end of a loopback connection, by what Linux shows of sockets and processes.

TCP has no credentials of its own. But the kernel knows the inode of every connection's socket, and shows of every
process which sockets it has open:

| the client's socket                                                                      | verdict   |
|------------------------------------------------------------------------------------------|-----------|
| is open in the environment's process, a descendant of it, or a process of its session     | `own`     |
| is open elsewhere only, or where the daemon may not look                                  | `foreign` |
| is closed already, or not known to the kernel                                             | `gone`    |

Only `own` may be answered. A process that began a session of its own *and* lost its parent (a daemon that was started
by a handler) counts as foreign.

The inode comes from a netlink request for this one connection (15 us), or, where that is not offered, from the list in
/proc/net (3 ms where the machine has memory enough for millions of connections). `can_tell` says whether either works:
neither does on macOS and in some sandboxes.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROC = Path("/proc")

_NETLINK = struct.Struct("=IHHII")
_DIAG_REQUEST = struct.Struct("=BBBxI36sI8s")
_DIAG_REPLY = struct.Struct("=4s36s12x12xII")
"""Family, state and timer; ports and addresses; interface and cookie; expiry and queues; then user and inode."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF

_KERNEL_SECONDS = 1.0
"""The kernel answers within the call that asks; this only keeps a broken sandbox from stopping the daemon."""

Address = tuple[str, int]
"""An IPv4 address and a port."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        uid: the user that the client's socket belongs to; None if it is gone.
    """

    verdict: Literal["own", "foreign", "gone"]
    uid: int | None = None


def peer(client: Address, server: Address, *, pid: int) -> Peer:
    """Judge the connection from `client` to `server`, for the environment whose process and session `pid` leads."""
    look = _way_to_look()
    entry = None if look is None else look(client, server)
    if entry is None:
        return Peer("gone")
    inode, uid = entry
    return Peer("own" if is_open_in_family(inode, pid) else "foreign", uid)


def can_tell() -> bool:
    """Whether this system names the owner of a connection."""
    return _way_to_look() is not None


@functools.cache
def _way_to_look() -> Callable[[Address, Address], tuple[int, int] | None] | None:
    """How to find a connection's socket here: what works on one of our own."""
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        for look in (ask_kernel, search_list):
            entry = look(client.getsockname(), listener.getsockname())
            if entry is not None and is_open_in_family(entry[0], os.getpid()):
                return look
    return None


def ask_kernel(client: Address, server: Address) -> tuple[int, int] | None:
    """Inode and user of the client's socket, by a request of the kernel's socket monitoring; None if there is none."""
    ends = struct.pack("!HH16s16s", client[1], server[1], socket.inet_aton(client[0]), socket.inet_aton(server[0]))
    # Any interface, any cookie. An IPv6 socket with mapped addresses is found by its IPv4 addresses.
    body = _DIAG_REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ALL_STATES, ends, 0, b"\xff" * 8)
    message = _NETLINK.pack(_NETLINK.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asking:
            asking.settimeout(_KERNEL_SECONDS)
            asking.send(message)
            reply = asking.recv(4096)
    except (AttributeError, OSError):  # no such thing here: another system, or a sandbox
        return None
    if _NETLINK.unpack_from(reply)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    _, found_ends, uid, inode = _DIAG_REPLY.unpack_from(reply, _NETLINK.size)
    # Without the connection the kernel offers whoever listens on the client's port.
    return (inode, uid) if inode and found_ends[:4] == ends[:4] else None


def search_list(client: Address, server: Address, *, proc: Path = PROC) -> tuple[int, int] | None:
    """Inode and user of the client's socket, from /proc/net/tcp; None if it is not there."""
    (host, port), (other_host, other_port) = client, server
    # A client of both address families (Java's are) is listed with those of IPv6, under a mapped address.
    for table, spelled in (("tcp", _spelled), ("tcp6", _spelled_mapped)):
        wanted = f" {spelled(host)}:{port:04X} {spelled(other_host)}:{other_port:04X} ".encode()
        try:
            listed = (proc / "net" / table).read_bytes()
        except OSError:
            continue
        start = listed.find(wanted)
        if start >= 0:
            fields = listed[start + len(wanted) :].partition(b"\n")[0].split()
            uid, inode = int(fields[4]), int(fields[6])
            return (inode, uid) if inode else None
    return None


def is_open_in_family(inode: int, pid: int, *, proc: Path = PROC) -> bool:
    """Whether the process, a descendant of it or a member of its session has that socket open."""
    link = f"socket:[{inode}]"
    return any(_has_open(each, link, proc) for each in _family(pid, proc))


def _spelled(host: str) -> str:
    """An IPv4 address as the kernel prints it: a number in the machine's own byte order."""
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}"


def _spelled_mapped(host: str) -> str:
    numbers = struct.unpack("=IIII", bytes(10) + b"\xff\xff" + socket.inet_aton(host))
    return "".join(f"{number:08X}" for number in numbers)


def _has_open(pid: int, link: str, proc: Path) -> bool:
    folder = f"{proc}/{pid}/fd"
    try:
        for name in os.listdir(folder):  # noqa: PTH208  many, and on the way of every connection
            try:
                if os.readlink(f"{folder}/{name}") == link:  # noqa: PTH115  as above
                    return True
            except OSError:
                continue  # closed in the meantime
    except OSError:
        pass  # the process has ended, or is none of ours: then the socket is not known to be
    return False


def _family(pid: int, proc: Path) -> Iterator[int]:
    """The process itself, its descendants, then whoever else is in its session: the likely ones first."""
    seen = {pid}
    generation = [pid]
    while generation:
        yield from generation
        generation = [child for each in generation for child in _children(each, proc) if child not in seen]
        seen.update(generation)
    for entry in proc.iterdir():
        if entry.name.isdecimal() and int(entry.name) not in seen and _session(entry) == pid:
            yield int(entry.name)


def _children(pid: int, proc: Path) -> list[int]:
    children: list[int] = []
    try:
        for thread in (proc / str(pid) / "task").iterdir():
            children += map(int, (thread / "children").read_bytes().split())
    except OSError:  # it has ended, or this kernel keeps no such lists: the session is looked through all the same
        pass
    return children


def _session(entry: Path) -> int | None:
    try:
        # The name of the program comes before, in brackets, and may hold anything.
        return int((entry / "stat").read_bytes().rpartition(b")")[2].split()[3])
    except (OSError, IndexError):
        return None
