"""One-stage detectors from ONNX files, in OpenVINO on the CPU: YuNet, SCRFD, Ultra-Light, BlazeFace.

The kind is recognised by the network's outputs (`anchors`), so a file is all a user names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import WeightsError
from faceindex.faces.anchors import KINDS, Floats, Kind, kind_of
from faceindex.faces.landmarks import LandmarkFinder, load_landmark_finder
from faceindex.faces.networks import Network
from faceindex.faces.nms import nms
from faceindex.faces.views import FRAME_STEP, View, views
from faceindex.types import Detections


class OnnxDetector:
    """A one-stage detector; see `detect.Detector`. Used by one thread at a time.

    Pictures are looked at one by one: from 240 x 320 pixels on, batches gained nothing on one thread.

    Args:
        id: see `detect.Detector`.
        kind: what the network's outputs mean.
        network: takes float32 (1, 3, height, width).
        finder: gives the landmarks when the network gives none.
    """

    def __init__(self, id: str, kind: Kind, network: Network, finder: LandmarkFinder | None) -> None:  # noqa: A002
        self.id = id
        self._kind, self._network, self._finder = kind, network, finder

    def detect(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        """Return the faces of each picture; see `detect.Detector`."""
        return [self._detect(picture, side) for picture, side in zip(pictures, smallest, strict=True)]

    def _detect(self, picture: NDArray[np.uint8], smallest: float) -> Detections:
        kind = self._kind
        parts = [self._look(view) for view in views(picture, kind.smallest / smallest, kind.largest)]
        boxes, landmarks, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept = nms(boxes, scores, np.zeros(len(boxes), np.int64), kind.overlap)
        if self._finder is None:
            return Detections(boxes, landmarks, scores).chosen(kept)
        return self._finder.complete(picture, boxes[kept], scores[kept])

    def _look(self, view: View) -> tuple[Floats, Floats, Floats]:
        """Return boxes, landmarks (zeros when the network has none) and scores, in pixels of the picture."""
        height, width = view.pixels.shape[:2]
        found = self._kind.decode(self._network(self._kind.inputs(view.pixels)), height, width, self._kind.threshold)
        factors = np.array([1 / view.x_scale, 1 / view.y_scale], np.float32)
        landmarks = np.zeros((len(found.scores), 5, 2), np.float32) if found.landmarks is None else found.landmarks
        return found.boxes * np.tile(factors, 2), landmarks * factors, found.scores


def load_onnx_detector(path: Path, id: str) -> OnnxDetector:  # noqa: A002
    """Load a detector from an ONNX file; raises what `read_detector` raises."""
    kind, network = read_detector(path)
    return OnnxDetector(id, kind, network, None if kind.has_landmarks else load_landmark_finder())


def read_detector(path: Path, precision: str | None = None) -> tuple[Kind, Network]:
    """Return the network of an ONNX file and its kind.

    Args:
        path: of the file.
        precision: bf16 or f32; by default what the processor is best at.

    Raises:
        WeightsError: no ONNX network, of no known kind, or for pictures of one size only.
    """
    from faceindex.faces.openvino_network import OpenVinoNetwork, read_onnx

    model = read_onnx(path, (-1, 3, -1, -1))
    kind = _kind(path, model)
    if kind.decodes_itself:
        model = _undecoded(model)
    _require_any_size(path, kind, model)
    return kind, OpenVinoNetwork(model, precision)


def _kind(path: Path, model: Any) -> Kind:
    shapes = [output.get_partial_shape() for output in model.outputs]
    last = [shape[len(shape) - 1] for shape in shapes]
    widths = [size.get_length() if size.is_static else -1 for size in last]
    if (kind := kind_of(widths)) is None:
        raise WeightsError(
            f"{path} is no detector of a known kind ({', '.join(kind.name for kind in KINDS)}): its outputs are "
            f"{', '.join(str(shape) for shape in shapes)}"
        )
    return kind


def _undecoded(model: Any) -> Any:
    """Return the network up to where all anchors stand together, without the decoding for frames of one size."""
    from openvino import Model

    return Model([_anchors_together(output.get_node()).output(0) for output in model.outputs], model.get_parameters())


def _anchors_together(node: Any) -> Any:
    """Return the nearest node before `node` that puts the anchors of all strides behind one another."""
    waiting = [node]
    while waiting:
        node = waiting.pop(0)
        if node.get_type_name() == "Concat" and node.get_attributes()["axis"] == 1:
            return node
        waiting += [source.get_source_output().get_node() for source in node.inputs()]
    raise ValueError("the network does not put its anchors together")


def _require_any_size(path: Path, kind: Kind, model: Any) -> None:
    """Refuse a network that takes pictures of one size only.

    By its shapes alone: OpenVINO would run it on others, and write outside its memory.
    """
    height, width = 2 * FRAME_STEP, 3 * FRAME_STEP
    try:
        sized = model.clone()
        sized.reshape([1, 3, height, width])
        outputs = [np.zeros(output.get_shape(), np.float32) for output in sized.outputs]
        kind.decode(outputs, height, width, kind.threshold)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path} ({kind.name}) takes pictures of one size only; export it with free height and width"
        ) from error
