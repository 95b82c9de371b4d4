"""Small pieces of HTML: escaped text, tables with captions, and plots whose colours follow the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite

from credit_envs.report import plots

_VARIABLES: Mapping[str, str] = {
    plots.INK: "var(--ink)",
    plots.SOFT: "var(--soft)",
    plots.GRID: "var(--grid)",
    plots.SURFACE: "var(--ground)",
    plots.BAND: "var(--band)",
    **dict(zip(plots.COLOURS.values(), ("var(--blue)", "var(--orange)", "var(--green)"), strict=True)),
}
_WORDS = {"environment", "policy", "estimator, γ"}


def tag(name: str, *inside: str, **attributes: str) -> str:
    """Returns an element around HTML that is already escaped; ``class_`` and ``data_x`` stand for class and data-x."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(inside)}</{name}>"


def text(value: str) -> str:
    """Returns text escaped for HTML, with code marks around what stands between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(value, quote=False))


def cell(shown: str, value: float | None = None, **attributes: str) -> str:
    """Returns a table cell that sorts by its value, undefined ones last."""
    if value is not None:
        attributes["data_value"] = f"{value:.6g}" if isfinite(value) else ""
    return tag("td", shown, **attributes)


def table(caption: str, columns: Sequence[str], rows: Iterable[str], kind: str = "") -> str:
    """Returns a table that scrolls sideways where the page is narrow.

    Args:
        caption: what it shows.
        columns: heads of the columns.
        rows: its rows as HTML.
        kind: CSS classes.
    """
    heads = tag("tr", *(tag("th", text(name), scope="col", class_="word" * (name in _WORDS)) for name in columns))
    inside = tag("caption", text(caption)) + tag("thead", heads) + tag("tbody", *rows)
    attributes = {"class_": "scroll heat" if "heat" in kind else "scroll", "tabindex": "0", "role": "group"}
    return tag("div", tag("table", inside, class_=kind or "plain"), **attributes, aria_label=caption)


def themed(svg: str, label: str, prefix: str) -> str:
    """Makes a drawing part of the page: without its own header, with the page's colours, and with a name for readers.

    Args:
        svg: what matplotlib wrote.
        label: what the drawing says, for readers who cannot see it.
        prefix: put before its ids, which must be unique on the page.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt"', "", body, count=4)
    body = re.sub(r'<style type="text/css">.*?</style>', "", body, flags=re.DOTALL)
    body = re.sub(r'xlink:href="#', 'href="#', body)
    body = re.sub(r'id="', f'id="{prefix}-', body)
    body = re.sub(r"url\(#", f"url(#{prefix}-", body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r"\n\s*", "\n", body)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
