"""The form of an entry: a folder or an archive of a few known files of bounded size, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import records
from credit_envs.leaderboard.entry import EPISODES, MANIFEST, POLICIES, SOURCE

_SIZES = {MANIFEST: 1 << 24, SOURCE: entries.SOURCE_BYTES, EPISODES: records.FILE_BYTES, POLICIES: 1 << 28}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Yields the folder of an entry, unpacked from its archive if it is one.

    Raises:
        CreditEnvsError: for links, strange names, and files beyond their size.
    """
    if path.is_dir() and not path.is_symlink():
        for item in path.iterdir():
            mode = item.lstat().st_mode
            if not stat.S_ISREG(mode) or item.name not in _SIZES:
                raise CreditEnvsError(f"{item.name!r}: an entry holds the files {', '.join(_SIZES)} and nothing else")
            if item.lstat().st_size > _SIZES[item.name]:
                raise CreditEnvsError(
                    f"{item.name}: {item.lstat().st_size} bytes, expected at most {_SIZES[item.name]}"
                )
        yield path
        return
    if path.suffix != ".zip" or not path.is_file():
        raise CreditEnvsError(f"{str(path)!r}: expected the folder of an entry, or a .zip of its files")
    with tempfile.TemporaryDirectory(prefix="credit-envs-entry-") as place:
        _unpack(path, Path(place))
        yield Path(place)


def _unpack(path: Path, place: Path) -> None:
    """Copies the known files of an archive, counting what really comes out: an archive's own sizes may lie."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            if len(names) > len(_SIZES) or len(set(names)) < len(names) or not set(names) <= set(_SIZES):
                raise CreditEnvsError(f"{path.name}: holds {names[:5]}, expected {', '.join(_SIZES)} at its top")
            for info in archive.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise CreditEnvsError(f"{info.filename}: is a link")
                left = _SIZES[info.filename]
                with archive.open(info) as source, (place / info.filename).open("wb") as target:
                    while part := source.read(1 << 16):
                        left -= len(part)
                        if left < 0:
                            raise CreditEnvsError(f"{info.filename}: more than {_SIZES[info.filename]} bytes unpacked")
                        target.write(part)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise CreditEnvsError(f"{path.name}: no readable archive ({error})") from error


def digest(folder: Path) -> str:
    """Returns the hash of an entry's files, which a report belongs to."""
    total = hashlib.sha256()
    for name in sorted(_SIZES):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                total.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
