"""Docstrings as the site needs them: they are written for readers of the code, in marks of their own."""

import re

_ROLE = re.compile(r":(?:func|class|meth|data|mod|attr|exc):`~?([^`]+)`")


def ready(_app, what, _name, _object, _options, lines):
    """Turns what is indented under a module's sentences into literal blocks; bars and stars stay what they are."""
    lines[:] = [_bars(line) for line in lines]
    lines[:] = [re.sub(r"(?<![\\`*])\*\*(\w+\))", r"\\*\\*\1", line) if "``" not in line else line for line in lines]
    if what == "module":
        lines[:] = _literal(lines)


def skip(_app, _what, _name, thing, skipped, _options):
    """Leaves out the fields of named tuples: what they are stands in their class's docstring."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else skipped


def _bars(line):
    """Escapes the bars outside code, so that none of them asks for a substitution."""
    parts = line.split("``")
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
    return "``".join(parts)


def _literal(lines):
    """Puts `::` before indented blocks that follow a blank line and are no list's continuation."""
    out, inside = [], False
    for i, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and not inside and i and not lines[i - 1].strip():
            out += ["::", ""]
            inside = True
        elif line.strip() and not indented:
            inside = False
        out.append(line.replace(r"\|", "|") if inside else line)
    return out


def markdown(text: str) -> str:
    """Turns a docstring into Markdown: references into code, and what could be HTML or emphasis into itself."""
    out = []
    for line in text.splitlines():
        if line.startswith("    "):
            out.append(line)
            continue
        line = _ROLE.sub(lambda found: f"`{found[1]}`", line).replace("``", "`")
        parts = line.split("`")
        # Only what stands between backticks is code; the rest is prose.
        parts[::2] = [part.replace("<", "&lt;").replace("*", r"\*").replace(r"\*\*", "**") for part in parts[::2]]
        out.append("`".join(parts))
    return "\n".join(out)
