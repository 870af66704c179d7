"""A detection server by the names of the original document, with channels and with parameters over ZeroMQ.

    python compat_detection_server.py
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lkas.integration.shared_memory import DetectionChannel, ImageChannel
from lkas.integration.shared_memory.messages import LaneMessage
from lkas.integration.zmq import ParameterClient


class BrightnessDetector:
    """The leftmost and the rightmost bright column of the frame's lower half, as upright lines."""

    def __init__(self) -> None:
        self.threshold = 150.0

    def update_parameter(self, name: str, value: float) -> None:
        if name == "canny_high":
            self.threshold = value

    def detect(self, image: np.ndarray) -> list[LaneMessage | None]:
        height, width = image.shape[:2]
        columns = np.flatnonzero((image[height // 2 :].max(axis=(0, 2)) > self.threshold))
        sides = columns[columns < width // 2], columns[columns >= width // 2]
        return [
            LaneMessage(int(side[0]), height - 1, int(side[0]), height // 2, 1.0) if side.size else None for side in sides
        ]


class DetectionServer:
    def __init__(self, camera: str = "camera_feed", detections: str = "lane_detection", broker_url: str | None = None):
        self.image_channel = ImageChannel(camera, create=False)
        self.detection_channel = DetectionChannel(detections, create=True)
        self.detector = BrightnessDetector()
        self.parameters = ParameterClient(category="detection", broker_url=broker_url)
        self.parameters.register_callback(self.detector.update_parameter)
        self.running = True

    def step(self) -> Any:
        """One turn: parameters, and a frame if there is a new one, which is answered."""
        self.parameters.poll()
        message = self.image_channel.read_blocking(timeout=0.05)
        if message is None:
            return None
        start = time.perf_counter()
        left, right = self.detector.detect(message.image)
        self.detection_channel.write(
            left,
            right,
            frame_id=message.frame_id,
            processing_time_ms=(time.perf_counter() - start) * 1000,
            timestamp=message.timestamp,
        )
        return message.frame_id

    def run(self) -> None:
        while self.running:
            self.step()

    def stop(self) -> None:
        self.parameters.close()
        self.image_channel.unlink()
        self.detection_channel.unlink()


if __name__ == "__main__":
    server = DetectionServer()
    try:
        server.run()
    except KeyboardInterrupt:
        server.stop()
