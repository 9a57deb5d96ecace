"""Old states of fits make room: settings, data and code change, and each change has its own."""

import logging
import re
import time
from pathlib import Path

logger = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{32}")  # of `identity.fit_identity`


def prune(folder: Path, days: float) -> int:
    """Removes the states that were not used for so many days; how many they were.

    Nothing else in the folder is touched, whatever it is.

    Args:
        folder: of all states, a sub-folder each; it need not exist.
        days: since a state was last written or read.
    """
    oldest = time.time() - days * 86_400
    removed = [path for path in folder.glob("*/") if _is_old(path, oldest) and _remove(path)]
    if removed:
        logger.info(
            "Removed the states of %d fits not used for %g days from %s",
            len(removed), days, folder,
        )  # fmt: skip
    return len(removed)


def _is_old(directory: Path, oldest: float) -> bool:
    files = list(directory.iterdir())
    ours = all(path.suffix in {".safetensors", ".part"} for path in files)
    if not _KEY.fullmatch(directory.name) or not ours:
        return False
    return max(path.stat().st_mtime for path in [directory, *files]) < oldest


def _remove(directory: Path) -> bool:
    """False if another process was faster."""
    try:
        for path in directory.iterdir():
            path.unlink(missing_ok=True)
        directory.rmdir()
    except OSError:
        return False
    return True
