"""The state of a fit on disk: after a crash the same fit goes on, with the same numbers.

One safetensors file, replaced whole: whatever moment a process dies at, there is the state before
or the state after. Tensors are the weights, moments and random states; the header holds the rest
as JSON. Nothing in it is ever executed. Two processes that write the same file each fill a part
file of their own, so that the one or the other state is there, never a mixture.
"""

import json
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

logger = logging.getLogger(__name__)


class Checkpoint:
    """A file that holds the latest state of one fit.

    Args:
        path: of the file; its folder is made.
        interval: least seconds between two states, longer in proportion where writing one takes more than
            50 ms; what ends a fit is always written.
    """

    def __init__(self, path: Path, interval: float = 1.0) -> None:
        self.path = path
        self.interval = interval
        self._pause = interval
        self._written = time.monotonic()

    def is_due(self) -> bool:
        """Whether enough time has passed since the last state."""
        return time.monotonic() - self._written >= self._pause

    def write(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        """Replaces the state."""
        from safetensors.torch import save_file

        start = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        owner = f"{os.getpid()}-{threading.get_native_id()}"
        part = self.path.with_name(f"{self.path.stem}.{owner}.part")
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, part, metadata={"state": json.dumps(header)})
        with suppress(FileNotFoundError):  # another process has finished this fit and cleared up
            part.replace(self.path)
        self._written = time.monotonic()
        self._pause = self.interval * max(1.0, (self._written - start) / 0.05)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The latest state; None if there is none, or none that can be read."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        if not self.path.is_file():
            return None
        try:
            # read at once: `safe_open` opens the name a second time for the tensors, and another
            # process may have replaced the file in between
            content = self.path.read_bytes()
            end = 8 + int.from_bytes(content[:8], "little")
            return load(content), json.loads(json.loads(content[8:end])["__metadata__"]["state"])
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s cannot be read (%s): the fit starts anew.", self.path, error)
            return None
