"""Who writes a catalog, as the lock file says it and as others are told."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from faceindex.errors import LockedError


def this_process(command: str) -> dict[str, Any]:
    """Return what a lock file says of this process; `command` is what it is doing."""
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def owner_in(data: bytes) -> Mapping[str, Any]:
    """Return what a lock file says; nothing where it cannot be read."""
    try:
        owner = json.loads(data)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def shown(owner: Mapping[str, Any]) -> str:
    """Return an owner as messages name it."""
    if not {"command", "pid", "host", "since"} <= owner.keys():
        return "another process"
    return f"`{owner['command']}` (process {owner['pid']} on {owner['host']}, since {owner['since']})"


def locked(root: str, owner: Mapping[str, Any]) -> LockedError:
    """Return the error of a catalog that another process writes."""
    return LockedError(f"{root} is being written by {shown(owner)}; wait for it or stop it")
