"""The audit as one self-contained page: no script, no network, light and dark."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Final

from mailcrypt_component.store.audit import MEANINGS, Audit, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TITLES: Final = {
    State.CURRENT: "current key",
    State.RETIRED: "retired key",
    State.UNKNOWN: "unknown key",
    State.ENCRYPTED: "encrypted",
    State.CLEAR: "in clear",
    State.MBOX: "mbox",
    State.DAMAGED: "damaged",
    State.UNSUPPORTED: "unsupported",
    State.UNREADABLE: "unreadable",
    State.UNREADABLE_FOLDER: "unreadable folder",
    State.DBOX: "dbox",
    State.LINK: "link",
}
_GOOD: Final = (State.CURRENT, State.RETIRED, State.ENCRYPTED)
_TOP_USERS: Final = 40
_LONGEST_SPAN: Final = 60
_LABELLED: Final = 16

_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fafaf8;--card:#fff;--ink:#1c1e21;--soft:#5d646d;--line:#e4e4df;
--current:#1f7a5c;--retired:#6fae8f;--encrypted:#3f7fb0;--unknown:#b35c00;--clear:#c0262d;
--mbox:#d9615f;--damaged:#7b3fa0;--unreadable:#8a8f98;--dbox:#4b6a8a;
--unsupported:#8c6d1f;--unreadable_folder:#6b7078;--link:#4a8a86}
@media (prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1c1f25;--ink:#e9ebee;--soft:#9aa3ad;
--line:#2c313a;--current:#3fb68b;--retired:#7f9f8f;--encrypted:#68a6da;--unknown:#f0a04b;
--clear:#ff6b6b;--mbox:#e58b89;--damaged:#b98be0;--unreadable:#7f8690;--dbox:#86a6c8;
--unsupported:#d0b060;--unreadable_folder:#9aa0a8;--link:#7fc0bc}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.15rem;font-weight:600;margin:0;color:var(--soft)}
h2{font-size:1rem;margin:0 0 1rem}
.verdict{font-size:clamp(1.6rem,5vw,2.6rem);line-height:1.15;font-weight:700;margin:.4rem 0 .3rem;
letter-spacing:-.02em}.good .verdict{color:var(--current)}.bad .verdict{color:var(--clear)}
p{margin:0;color:var(--soft)}section{background:var(--card);border:1px solid var(--line);
border-radius:14px;padding:1.4rem;margin-top:1.25rem}
.bar{display:flex;height:1.6rem;border-radius:8px;overflow:hidden;background:var(--line);gap:2px}
.bar i{display:block;min-width:3px}
.legend{display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;margin:1rem 0 0;padding:0;list-style:none}
.legend b{font-variant-numeric:tabular-nums}.dot{display:inline-block;width:.7rem;height:.7rem;
border-radius:3px;margin-right:.45rem}
.row{display:grid;grid-template-columns:minmax(7rem,15rem) 1fr 6.5rem;gap:.9rem;
align-items:center;padding:.3rem 0}.row .bar{height:.8rem;border-radius:5px}
.row span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.row b{text-align:right;font-variant-numeric:tabular-nums;font-weight:500}
code{font:.85em ui-monospace,SFMono-Regular,Menlo,monospace;word-break:break-all}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}ul.paths{margin:.3rem 0 1rem;padding-left:1.2rem}
@media (max-width:36rem){.row{grid-template-columns:1fr 5rem}.row .bar{grid-column:1/3;grid-row:2}}
@media print{body{background:#fff}section{break-inside:avoid;border-color:#ccc}}
"""


def report(found: Audit, now: float) -> str:
    """Return the page.

    Args:
        found: The audit; its names may be anything, they are escaped.
        now: The time to print, in seconds since 1970.

    """
    states = found.by_state(found.tally.states())
    bad = sum(number for state, number in states.items() if state not in _GOOD)
    body = "".join(
        (
            _head(found, bad, now),
            _section("What it is", _bar(states, found.total) + _legend(states)),
            _keys(found),
            _years(found),
            _users(found),
            _folders(found),
            _examples(found),
        )
    )
    title = f"Audit of {escape(found.store)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f'<body class="{"bad" if bad else "good"}"><main>{body}</main></body></html>\n'
    )


def _head(found: Audit, bad: int, now: float) -> str:
    if not found.total:
        verdict = "There is no mail here."
    elif bad:
        verdict = f"{bad:,} of {found.total:,} need a look."
    else:
        verdict = f"All {found.total:,} mails are encrypted."
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    return (
        f"<header><h1>Audit of <code>{escape(found.store)}</code></h1>"
        f'<div class="verdict">{verdict}</div><p>{when}</p></header>'
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _bar(states: Mapping[State, int], total: int) -> str:
    parts = "".join(
        f'<i style="flex:{number} 0 0;background:var(--{state.value})" '
        f'title="{_TITLES[state]}: {number:,}"></i>'
        for state, number in states.items()
    )
    told = ", ".join(f"{_TITLES[state]} {number:,}" for state, number in states.items())
    return f'<div class="bar" role="img" aria-label="{told} of {total:,}">{parts}</div>'


def _dot(state: State) -> str:
    return f'<span class="dot" style="background:var(--{state.value})"></span>'


def _legend(states: Mapping[State, int]) -> str:
    items = "".join(
        f"<li>{_dot(state)}<b>{number:,}</b> {MEANINGS[state]}</li>"
        for state, number in states.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _row(name: str, states: Mapping[State, int], largest: int) -> str:
    number = sum(states.values())
    width = max(100 * number / largest, 0.5)
    bar = f'<div style="width:{width:.2f}%">{_bar(states, number)}</div>'
    return f'<div class="row"><span title="{name}">{name}</span>{bar}<b>{number:,}</b></div>'


def _keys(found: Audit) -> str:
    keys = found.by_key()
    largest = max(keys.values(), default=1)
    rows = [_row(escape(key), {found.state(key): number}, largest) for key, number in keys.items()]
    return _section("By key id", "".join(rows))


def _years(found: Audit) -> str:
    """Return columns, one a year, as an SVG."""
    years = {year: found.by_state(counts) for year, counts in found.tally.years.items()}
    if not years:
        return ""
    span = sorted(years)
    if span[-1] - span[0] < _LONGEST_SPAN:
        span = list(range(span[0], span[-1] + 1))
    largest = max(sum(states.values()) for states in years.values())
    step, height = 640 / len(span), 150
    parts = []
    for index, year in enumerate(span):
        top = float(height)
        for state, number in years.get(year, {}).items():
            tall = max((height - 10) * number / largest, 1.5)
            top -= tall
            parts.append(
                f'<rect x="{index * step + step * 0.12:.1f}" y="{top:.1f}" '
                f'width="{step * 0.76:.1f}" height="{tall:.1f}" fill="var(--{state.value})">'
                f"<title>{year}, {_TITLES[state]}: {number:,}</title></rect>"
            )
        if len(span) <= _LABELLED or not index % 5:
            middle = index * step + step / 2
            parts.append(f'<text x="{middle:.1f}" y="168" text-anchor="middle">{year}</text>')
    drawn = (
        f'<svg viewBox="0 0 640 175" role="img" aria-label="mails by year of arrival, at most '
        f'{largest:,} a year">{"".join(parts)}</svg>'
    )
    return _section("By year of arrival", drawn)


def _users(found: Audit) -> str:
    users: dict[str, dict[State, int]] = {}
    for place, counts in found.tally.mailboxes.items():
        mine = users.setdefault(place.user, {})
        for state, number in found.by_state(counts).items():
            mine[state] = mine.get(state, 0) + number
    order = sorted(users.items(), key=lambda item: -sum(item[1].values()))
    largest = max((sum(states.values()) for states in users.values()), default=1)
    rows = [_row(escape(user), states, largest) for user, states in order[:_TOP_USERS]]
    if len(order) > _TOP_USERS:
        rows.append(f"<p>and {len(order) - _TOP_USERS:,} more users</p>")
    return _section("By user", "".join(rows))


def _folders(found: Audit) -> str:
    used = [state for state in State if state in found.by_state(found.tally.states())]
    head = "".join(f'<th class="n">{_TITLES[state]}</th>' for state in used)
    rows = "".join(
        f"<tr><td>{escape(place.user)}</td><td>{escape(place.folder)}</td>"
        f"{_cells(found.by_state(counts), used)}</tr>"
        for place, counts in sorted(found.tally.mailboxes.items())
    )
    head = f"<thead><tr><th>user</th><th>folder</th>{head}</tr></thead>"
    table = f"<table>{head}<tbody>{rows}</tbody></table>"
    return _section("Every folder", f'<div class="scroll">{table}</div>' if rows else "")


def _cells(states: Mapping[State, int], used: Iterable[State]) -> str:
    return "".join(
        f'<td class="n">{states[state]:,}</td>' if state in states else "<td></td>"
        for state in used
    )


def _examples(found: Audit) -> str:
    parts = []
    for state, paths in found.examples().items():
        if state not in _GOOD:
            items = "".join(f"<li><code>{escape(path)}</code></li>" for path in paths)
            parts.append(f'<p>{_dot(state)}{MEANINGS[state]}</p><ul class="paths">{items}</ul>')
    return _section("For instance", "".join(parts))
