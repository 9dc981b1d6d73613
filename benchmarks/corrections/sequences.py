"""Long forms of the property tests: many random sequences of events."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.corrections import nights
from benchmarks.corrections.answers import differences
from tests.property.test_ledger import Conversation

PEOPLE, FACES = 30, 5


def small_catalog(root: Path) -> Path:
    """Make a catalog of 30 people with five faces each, as alike as photos of one person are for the default model."""
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((PEOPLE, 128)) * 0.95 ** np.arange(128)
    centres[:, 0] += 7.0
    vectors = np.repeat(centres, FACES, axis=0) + 0.1 * generator.standard_normal((PEOPLE * FACES, 128))
    file = root.parent / f"{root.name}.npz"
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.savez(file, vectors=unit.astype(np.float32), ids=np.array([f"{row:03d}" for row in range(len(unit))]))
    nights.done("import", file, "-c", root, "--model", "dlib-resnet29")
    return root


def conversations(count: int, steps: int) -> None:
    """Try so many sequences of two processes that speak in turn; raises what a property test raises."""
    chosen = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Conversation, settings=chosen)


def corrected(base: Path, scratch: Path, count: int, acts: int) -> Iterator[nights.Seen]:
    """Say random things of copies of a small catalog, cluster, export, import into another copy, and compare."""
    for seed in range(count):
        root, other = scratch / "one", scratch / "other"
        for copy in (root, other):
            shutil.copytree(base, copy)
        said, seen = nights.talked(root, acts, seed)
        seen = nights.clustered_again(root, said, seen)
        file = scratch / "said.jsonl"
        nights.done("people", "export", file, "-c", root)
        nights.done("people", "import", file, "-c", other)
        nights.done("cluster", "-c", other)
        seen.wrong += differences(other, said)
        yield seen
        shutil.rmtree(root)
        shutil.rmtree(other)
