"""Lists of perturbations to hold out, in a file that is checked when it is read."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sparseshift.errors import ScreenError


def to_named_lists(lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Plain data for a JSON file: each list sorted, with the hash of its content."""
    return {
        name: {"held_out": sorted(members), "sha256": _sha256(name, members)}
        for name, members in lists.items()
    }


def read_named_list(content: Mapping[str, Any], name: str) -> list[str]:
    """One list of a file.

    Args:
        content: of `to_named_lists`.
        name: of the list.

    Raises:
        ScreenError: there is no such list, or it is not the one that was hashed.
    """
    if name not in content:
        raise ScreenError(
            f"There is no list {name!r} of perturbations to hold out. There are: {', '.join(content)}."
        )
    entry = content[name]
    if set(entry) != {"held_out", "sha256"} or _sha256(name, entry["held_out"]) != entry["sha256"]:
        raise ScreenError(
            f"The list {name!r} of perturbations to hold out was changed after it was made (its content "
            "does not have its sha256). Restore the file: git checkout gives the one that was published."
        )
    return list(entry["held_out"])


def _sha256(name: str, members: Sequence[str]) -> str:
    content = json.dumps({name: sorted(members)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
