"""Pages that are made from the code and its measurements whenever the site is built."""

from collections.abc import Iterator
from pathlib import Path

from made import algorithms, api, environments, pictures

HERE = Path(__file__).parents[1]


def write_pages(folder: Path) -> None:
    """Writes all of them, and their pictures, below a folder."""
    for pages in (*(part.files(folder) for part in (environments, algorithms, api, pictures)), measured()):
        for name, content in pages:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Untouched files are not read again by the next build.
            if not path.exists() or path.read_text(encoding="utf-8") != content:
                path.write_text(content, encoding="utf-8")


def measured() -> Iterator[tuple[str, str]]:
    """Yields the page that lists reports which commands wrote into docs/."""
    placed = {line.strip() for line in (HERE / "index.md").read_text().splitlines()} | {"index"}
    names = sorted(path.stem for path in HERE.glob("*.md") if path.stem not in placed)
    listed = "\n".join(f"../{name}" for name in names)
    said = "Reports that commands of this package wrote; each says how to make it again."
    yield "measured.md", f"# Further reports\n\n{said}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
