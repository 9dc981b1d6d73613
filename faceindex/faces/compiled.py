"""Inner loops in machine code: compiled by numba once, kept beside the module, run without Python's lock."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile a function when it is first called, and keep the result for later processes.

    Arithmetic is as written (no fast-math), so that float32 stays what it is in numpy; dividing by zero gives
    infinity, as there.
    """
    try:
        return cast("Loop", numba.njit(cache=True, nogil=True, error_model="numpy")(loop))
    except RuntimeError:  # neither the module's folder nor the user's cache folder can be written
        return cast("Loop", numba.njit(nogil=True, error_model="numpy")(loop))
