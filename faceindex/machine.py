"""What the machine offers; imports nothing of ours."""

import os
from getpass import getuser


def core_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def user_name() -> str:
    """Return who runs this: the name in the environment or the system's, else the number."""
    try:
        return getuser()
    except (KeyError, OSError):  # a user whom the system does not know, as in containers
        return f"user {os.getuid()}"
