"""The style sheet of the web page: light and dark by the reader's setting, every colour with enough contrast in both."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark;
  --back: #f6f7f9; --card: #fff; --text: #1b1f24; --soft: #57606a; --line: #d8dee4; --accent: #0b62c4; --area: #dbe9fb;
  --good: #146c2e; --good-back: #def4e4; --bad: #a40e26; --bad-back: #fde4e6;
  --busy: #7a4d00; --busy-back: #fdf0d0; --off: #4d555e; --off-back: #e7eaee; --code: #f0f2f5; }
@media (prefers-color-scheme: dark) { :root {
  --back: #0e1116; --card: #171b22; --text: #e8ecf1; --soft: #a3adb9; --line: #2d343e; --accent: #79b4ff; --area: #1c3350;
  --good: #7ddf97; --good-back: #10311b; --bad: #ff9aa5; --bad-back: #421319;
  --busy: #f0c674; --busy-back: #392a0c; --off: #b6bfca; --off-back: #262c35; --code: #0f1319; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
a { color: var(--accent); }
a:focus-visible, summary:focus-visible, .wide:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
header, main, footer { max-width: 1280px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 20px; display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: baseline; }
h1 { font-size: 22px; margin: 0; }
h2 { font-size: 16px; margin: 0 0 8px; }
header p { margin: 0; color: var(--soft); }
header .right { margin-left: auto; }
footer { color: var(--soft); font-size: 13px; padding: 8px 20px 28px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; margin: 16px 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0 0; padding: 0; list-style: none; }
.tiles li { flex: 1 1 130px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tiles b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.tiles .alarm { border-color: var(--bad); }
.tiles .alarm b { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 16px; padding-bottom: 6px; }
th, td { text-align: left; padding: 7px 10px; border-top: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; font-size: 13px; border-top: 0; white-space: nowrap; }
tbody th { font-weight: 600; }
td.num, th.num { text-align: right; white-space: nowrap; }
tbody th, td.text { overflow-wrap: anywhere; min-width: 190px; }
td.text { min-width: 260px; }
table code { white-space: nowrap; }
small { display: block; color: var(--soft); font-weight: 400; font-size: 13px; overflow-wrap: anywhere; }
small.bad { color: var(--bad); }
.badge { display: inline-block; border-radius: 999px; padding: 1px 10px; font-size: 13px; font-weight: 600; white-space: nowrap; }
.badge.good { color: var(--good); background: var(--good-back); } .badge.bad { color: var(--bad); background: var(--bad-back); }
.badge.busy { color: var(--busy); background: var(--busy-back); } .badge.off { color: var(--off); background: var(--off-back); }
.spark { display: block; } .spark .line { fill: none; stroke: var(--accent); stroke-width: 1.5; }
.spark .area { fill: var(--area); stroke: none; } .spark .mark { fill: var(--bad); }
code, pre { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; padding: 8px 10px; margin: 6px 0 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: 8px 0; } details:first-of-type { border-top: 0; }
summary { cursor: pointer; overflow-wrap: anywhere; } summary time { color: var(--soft); }
.none { color: var(--soft); margin: 0; }
@media (max-width: 720px) {
  header, main, footer { padding-left: 12px; padding-right: 12px; }
  header .right { margin-left: 0; }
  section { padding: 12px; }
  table, tbody { display: block; } caption { display: block; overflow-wrap: anywhere; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px 10px;
    padding: 10px 0; border-top: 1px solid var(--line); }
  tbody th, tbody td { display: block; padding: 0; border: 0; min-width: 0; grid-column: 1 / -1; }
  tbody td.num { grid-column: auto; text-align: left; }
  tbody td.num::before, tbody td.text::before { content: attr(data-label); display: block;
    color: var(--soft); font-size: 13px; } }
"""

HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""What the content security policy allows as the only style."""
