"""BlazeFace's two networks in torch, to make ONNX files of the weights that were converted from MediaPipe's.

    python benchmarks/blazeface.py blazefaceback.pth blazefaceback.onnx

The layers are named as in the state dicts of github.com/hollance/BlazeFace-PyTorch (Apache-2.0). Sizes of pictures are
left free: 128 x 128 for the front camera's and 256 x 256 for the back camera's are only what they were trained on.
"""

import argparse
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

FRONT = ((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1))
FRONT_SECOND = ((96, 2), (96, 1), (96, 1), (96, 1), (96, 1))
BACK = tuple((width, stride) for width in (24, 48, 96) for stride in (2, *[1] * 7))
"""Channels and stride of each block; the back network begins with seven more of 24."""


class Block(nn.Module):
    """A depthwise and a pointwise convolution, beside a shortcut that is pooled and widened as needed."""

    def __init__(self, width: int, out: int, stride: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.stride, self.widening, self.shortcut = stride, out - width, shortcut
        depthwise = nn.Conv2d(width, width, 3, stride, padding=2 - stride, groups=width)
        self.convs = nn.Sequential(depthwise, nn.Conv2d(width, out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's maps."""
        if self.stride == 1:
            y = self.convs(x)
        else:
            y = self.convs(functional.pad(x, (0, 1, 0, 1)))  # TensorFlow pads on the right and below only
            x = functional.max_pool2d(x, 2)
        if self.shortcut:
            y = y + functional.pad(x, (0, 0, 0, 0, 0, self.widening))
        return functional.relu(y)


class BlazeFace(nn.Module):
    """Pictures (n, 3, height, width) of -1 to 1 in, places (n, anchors, 16) and logits (n, anchors, 1) out.

    Args:
        back: the network for the back camera instead of that for the front camera.
    """

    def __init__(self, *, back: bool) -> None:
        super().__init__()
        first = [nn.Conv2d(3, 24, 5, stride=2), nn.ReLU()]
        self.back = back
        if back:
            self.backbone = nn.Sequential(*first, *_blocks(24, ((24, 1),) * 7 + BACK))
            self.final = Block(96, 96, 2, shortcut=False)
        else:
            self.backbone1 = nn.Sequential(*first, *_blocks(24, FRONT))
            self.backbone2 = nn.Sequential(*_blocks(88, FRONT_SECOND))
        self.classifier_8 = nn.Conv2d(96 if back else 88, 2, 1)
        self.regressor_8 = nn.Conv2d(96 if back else 88, 32, 1)
        self.classifier_16 = nn.Conv2d(96, 6, 1)
        self.regressor_16 = nn.Conv2d(96, 96, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return places and logits of all anchors."""
        x = functional.pad(x, (1, 2, 1, 2))
        fine = self.backbone(x) if self.back else self.backbone1(x)
        coarse = self.final(fine) if self.back else self.backbone2(fine)
        places = self.regressor_8(fine), self.regressor_16(coarse)
        logits = self.classifier_8(fine), self.classifier_16(coarse)
        return _by_anchor(places, 16), _by_anchor(logits, 1)


def load_blazeface(weights: Path) -> BlazeFace:
    """Return the network whose state dict a file holds."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    module = BlazeFace(back="backbone.0.weight" in state)
    module.load_state_dict(state)
    return module.eval()


def export_blazeface(weights: Path, target: Path) -> Path:
    """Write the network as an ONNX file that takes pictures of any size; return its path."""
    free = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations in the exporter
        torch.onnx.export(
            load_blazeface(weights),
            (torch.zeros(1, 3, 256, 256),),
            target,
            input_names=["input"],
            output_names=["places", "logits"],
            dynamic_axes={"input": free},
            dynamo=False,  # the other exporter needs a further package
        )
    return target


def _blocks(width: int, widths: tuple[tuple[int, int], ...]) -> list[Block]:
    widths_before = (width, *(out for out, _ in widths))
    return [Block(before, out, stride) for before, (out, stride) in zip(widths_before, widths, strict=False)]


def _by_anchor(maps: tuple[torch.Tensor, ...], width: int) -> torch.Tensor:
    return torch.cat([part.permute(0, 2, 3, 1).reshape(part.shape[0], -1, width) for part in maps], dim=1)


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    print(export_blazeface(arguments.weights, arguments.target))


if __name__ == "__main__":
    main()
