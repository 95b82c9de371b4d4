"""Pages that are made from the code and its measurements whenever the site is built."""

from pathlib import Path

from made import algorithms, environments, pictures


def write_pages(folder: Path) -> None:
    """Writes all of them, and their pictures, below a folder."""
    for part in (environments, algorithms, pictures):
        for name, content in part.files(folder):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Untouched files are not read again by the next build.
            if not path.exists() or path.read_text(encoding="utf-8") != content:
                path.write_text(content, encoding="utf-8")
