from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from faceindex.faces.compiled import compiled


def looped(source: str) -> Callable[..., Any]:
    """Return a compiled function without a file, beside which nothing can be kept."""
    names: dict[str, Any] = {"np": np}
    exec(source, names)
    return compiled(names["loop"])


def test_where_nothing_can_be_kept_functions_are_compiled_all_the_same() -> None:
    loop = looped(
        "def loop(values):\n    total = 0\n    for value in values:\n        total += value\n    return total"
    )

    assert loop(np.arange(10)) == 45
    assert loop.signatures  # type: ignore[attr-defined]


def test_dividing_by_zero_gives_what_it_gives_in_numpy() -> None:
    loop = looped("def loop(a, b):\n    return a / b")

    assert loop(np.float32(1), np.float32(0)) == np.inf
    assert np.isnan(loop(np.float32(0), np.float32(0)))


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_float32_stay_in_order_and_in_float32(seed: int) -> None:
    """Reordered sums, as fast-math makes them, would differ in the last bits."""
    loop = looped(
        "def loop(values):\n"
        "    total = np.float32(0)\n"
        "    for value in values:\n"
        "        total += value\n"
        "    return total"
    )
    values = np.random.default_rng(seed).random(1000, np.float32)
    expected = np.float32(0)
    for value in values:
        expected += value

    assert loop(values) == expected
