"""The main loop of a system by the names of the original document: carries what the channels have to viewers.

    python compat_system.py
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lkas.integration.shared_memory import ControlChannel, DetectionChannel, ImageChannel
from lkas.integration.zmq import LKASBroker


class System:
    def __init__(
        self,
        camera: str = "camera_feed",
        detections: str = "lane_detection",
        controls: str = "vehicle_control",
        broadcast_url: str | None = None,
    ) -> None:
        self.images = ImageChannel(camera, create=False)
        self.detections = DetectionChannel(detections, create=False)
        self.controls = ControlChannel(controls, create=False)
        self.broker = LKASBroker(broadcast_url=broadcast_url)
        self.seen: list[tuple[str, Any]] = []

    def step(self) -> None:
        """One turn: what viewers want, and whatever is new."""
        self.broker.poll()
        image = self.images.read()
        if image:
            self.broker.broadcast_frame(image.image, image.frame_id)
        detection = self.detections.read()
        if detection:
            self.broker.broadcast_detection(
                {
                    "left_lane": asdict(detection.left_lane) if detection.left_lane else None,
                    "right_lane": asdict(detection.right_lane) if detection.right_lane else None,
                    "processing_time_ms": detection.processing_time_ms,
                    "frame_id": detection.frame_id,
                },
                detection.frame_id,
            )
        control = self.controls.read()
        if control:
            self.seen = [("steering", control.steering), ("mode", control.mode)]

    def close(self) -> None:
        self.broker.close()
        for channel in (self.images, self.detections, self.controls):
            channel.close()


if __name__ == "__main__":
    import time

    system = System()
    try:
        while True:
            system.step()
            time.sleep(0.002)
    except KeyboardInterrupt:
        system.close()
