"""The web page in headless Chromium: it is drawn, in light and dark, with its style and without a complaint."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import struct
import zlib
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from esmd.api import page

from support.status_lab import HOSTILE, FixedStatus, snapshot

pytestmark = pytest.mark.server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@asynccontextmanager
async def served(value):
    app = web.Application()
    app.add_routes(page.routes(SimpleNamespace(status=FixedStatus(value))))
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/?refresh=off"))


async def chromium(folder, *arguments: str) -> str:
    """What Chromium writes to stdout, and to stderr of the page's own console."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless=new",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    complaints = re.findall(r".*(?:CONSOLE|Content Security Policy).*", err.decode(errors="replace"))
    assert complaints == []
    return out.decode()


def pixels(data: bytes) -> tuple[int, int, set[bytes]]:
    """Width, height and the colours of a PNG of 8 bit without interlacing, as Chromium writes it."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    size = {2: 3, 6: 4}[kind]
    packed, at = b"", 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        packed += data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += length + 12
    raw, before, colours = zlib.decompress(packed), bytearray(width * size), set()
    for row in range(height):
        start = row * (width * size + 1)
        line = bytearray(raw[start + 1 : start + 1 + width * size])
        unfilter(raw[start], line, before, size)
        colours.update(bytes(line[n : n + 3]) for n in range(0, len(line), size))
        before = line
    return width, height, colours


def unfilter(kind: int, line: bytearray, before: bytearray, size: int) -> None:
    """Undo a row's filter in place [PNG specification 9.2]."""
    for n in range(len(line)):
        a = line[n - size] if n >= size else 0
        b = before[n]
        c = before[n - size] if n >= size else 0
        if kind == 4:
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[n] = (line[n] + near) & 255
        else:
            line[n] = (line[n] + (0, a, b, (a + b) // 2)[kind]) & 255


@needs_chromium
@pytest.mark.parametrize(("scheme", "ground"), [(1, b"\xf6\xf7\xf9"), (0, b"\x0e\x11\x16")], ids=["light", "dark"])
async def test_the_page_is_drawn_with_its_style(tmp_path, scheme, ground):
    picture = tmp_path / "page.png"
    async with served(snapshot()) as url:
        await chromium(
            tmp_path,
            f"--blink-settings=preferredColorScheme={scheme}",
            "--window-size=640,480",
            f"--screenshot={picture}",
            url,
        )
    width, height, colours = pixels(picture.read_bytes())
    assert (width, height) == (640, 480)
    assert ground in colours, "the style's background: else its policy has refused it"
    assert len(colours) > 50, "a page with badges, text and lines is not of a few colours"


@needs_chromium
async def test_a_hostile_name_stays_text_in_a_browser(tmp_path):
    async with served(snapshot(hostile=True)) as url:
        dom = await chromium(tmp_path, "--dump-dom", url)
    assert "<script" not in dom
    assert HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in dom
