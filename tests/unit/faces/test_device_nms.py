import numpy as np
import pytest
import torch

from faceindex.faces.device_nms import packed, ranked, stand
from faceindex.faces.nms import nms


def crowd(seed: int, count: int = 300) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return boxes of four owners that overlap a lot, some alike, with few different scores."""
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 60, (count, 2)).round(generator.integers(0, 2))
    boxes = np.concatenate([low, low + generator.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)
    boxes[1::7] = boxes[::7][: len(boxes[1::7])]
    scores = (generator.integers(0, 40, count) / 40).astype(np.float32)
    return torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(generator.integers(0, 4, count))


@pytest.mark.parametrize("smaller", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_the_boxes_that_stand_are_those_of_greedy_suppression(smaller: bool, threshold: float) -> None:
    for seed in range(20):
        boxes, scores, owners = crowd(seed)
        expected = nms(boxes.numpy(), scores.numpy(), owners.numpy(), threshold, smaller=smaller)

        order = ranked(owners, scores, last_first=smaller)
        stands, most, changed = stand(boxes[order], owners[order], 4, threshold, room=128, rounds=64, smaller=smaller)

        assert order[stands].tolist() == expected.tolist()
        assert int(most) == int(torch.bincount(owners).max())
        assert int(changed) == 0


def test_too_few_rounds_are_noticed() -> None:
    """A row of boxes of which each overlaps the next: every second one stands, which takes as many rounds."""
    left = torch.arange(40.0) * 4
    boxes = torch.stack([left, torch.zeros(40), left + 10, torch.ones(40)], dim=1)
    owners = torch.zeros(40, dtype=torch.int64)

    _, _, few = stand(boxes, owners, 1, 0.4, room=64, rounds=8)
    stands, _, enough = stand(boxes, owners, 1, 0.4, room=64, rounds=64)

    assert int(few) > 0
    assert int(enough) == 0
    assert stands.tolist() == [True, False] * 20


def test_boxes_that_mean_nothing_never_stand_and_suppress_nothing() -> None:
    boxes, scores, owners = crowd(1, 100)
    nothing = torch.arange(100) % 3 == 0
    real = torch.nonzero(~nothing)[:, 0]
    expected = real[torch.from_numpy(nms(boxes[real].numpy(), scores[real].numpy(), owners[real].numpy(), 0.5))]

    owners = torch.where(nothing, 4, owners)
    order = ranked(owners, scores)
    stands, _, _ = stand(boxes[order], owners[order], 4, 0.5, room=64, rounds=64)

    assert order[stands].tolist() == expected.tolist()


def test_of_more_boxes_than_there_is_room_for_the_best_stand() -> None:
    boxes = torch.arange(10.0)[:, None] * 100 + torch.tensor([0.0, 0, 10, 10])
    owners = torch.tensor([0] * 7 + [1] * 3)

    stands, most, _ = stand(boxes, owners, 2, 0.5, room=4, rounds=4)

    assert stands.tolist() == [True] * 4 + [False] * 3 + [True] * 3
    assert int(most) == 7


@pytest.mark.parametrize("room", [2, 3, 8])
def test_packing_keeps_the_order_and_counts_what_does_not_fit(room: int) -> None:
    positions, real, count = packed(torch.tensor([False, True, False, True, True]), room)

    assert positions[real].tolist() == [1, 3, 4][:room]
    assert (len(positions), int(count)) == (room, 3)
