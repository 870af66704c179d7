"""A detection server with OpenCV: takes camera frames, finds the lane lines, publishes where they are.

    python detection.py [--namespace NAME] [--broker-port PORT]

Edges by Canny, lines by the probabilistic Hough transform, and of the lines on either side the mean, weighted by length.
With `--broker-port`, parameters are taken from the broker while it runs.
"""

from __future__ import annotations

import argparse
import signal
import time

import cv2
import numpy as np

from lkas_channels import Detection, DetectionWriter, Frame, ImageReader, Lane, ParameterClient, Stale

#: Where the road begins, as a share of the frame's height.
TOP = 0.61
#: What a frame of 600 rows needs.
PARAMETERS = {
    "canny_low": 50,
    "canny_high": 150,
    "hough_threshold": 30,
    "hough_min_line_len": 30,
    "smoothing_factor": 0.5,
}


class Detector:
    """Finds the lane lines of one frame after the other."""

    def __init__(self) -> None:
        self.parameters: dict[str, float] = dict(PARAMETERS)
        self.before: dict[str, np.ndarray | None] = {"left": None, "right": None}

    def set(self, name: str, value: float) -> None:
        self.parameters[name] = value

    def detect(self, image: np.ndarray) -> tuple[Lane | None, Lane | None]:
        """The lines on the left and on the right; None where there is none."""
        height, width = image.shape[:2]
        top = int(height * TOP)
        parameters = self.parameters
        # A slice of the frame: no copy. OpenCV makes its own for the result.
        gray = cv2.cvtColor(image[top:], cv2.COLOR_RGB2GRAY)
        edges = cv2.Canny(cv2.GaussianBlur(gray, (5, 5), 0), parameters["canny_low"], parameters["canny_high"])
        rows = height - top
        cut = width // 5
        road = np.array([[0, rows], [0, rows // 2], [cut, 0], [width - cut, 0], [width, rows // 2], [width, rows]])
        mask = np.zeros_like(edges)
        cv2.fillPoly(mask, [road.astype(np.int32)], 255)
        found = cv2.HoughLinesP(
            edges & mask,
            1,
            np.pi / 180,
            int(parameters["hough_threshold"]),
            minLineLength=parameters["hough_min_line_len"],
            maxLineGap=60,
        )
        lines = np.empty((0, 4)) if found is None else found.reshape(-1, 4).astype(float)
        return self.side("left", lines, width, rows, top), self.side("right", lines, width, rows, top)

    def side(self, side: str, lines: np.ndarray, width: int, rows: int, top: int) -> Lane | None:
        x1, y1, x2, y2 = lines.T
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (x2 - x1) / (y2 - y1)  # columns for each row
        # Where each line meets the frame's last row.
        bottom = x1 + (rows - y1) * slope
        middle = width / 2
        leans = (slope < -0.2) & (bottom < middle) if side == "left" else (slope > 0.2) & (bottom > middle)
        # Of several lanes, the nearest lines.
        use = leans & np.isfinite(slope) & (np.abs(slope) < 8)
        if use.any():
            distance = np.abs(bottom - middle)
            use &= distance < distance[use].min() + 0.12 * width
        if not use.any():
            self.before[side] = None
            return None
        length = np.hypot(x2 - x1, y2 - y1)[use]
        now = np.array([np.average(bottom[use], weights=length), np.average(slope[use], weights=length)])
        before = self.before[side]
        share = min(float(self.parameters["smoothing_factor"]), 0.95)
        if before is not None and abs(before[0] - now[0]) < 0.2 * width:
            now = share * before + (1 - share) * now
        self.before[side] = now
        confidence = min(1.0, float(length.sum()) / (2 * rows))
        return Lane(now[0], top + rows, now[0] - rows * now[1], top, confidence)


def answer(frame: Frame, detector: Detector) -> Detection:
    start = time.perf_counter()
    left, right = detector.detect(frame.image)
    height, width, _ = frame.shape
    return Detection(
        left,
        right,
        width,
        height,
        frame_id=frame.frame_id,
        timestamp=frame.timestamp,
        processing_time_ms=(time.perf_counter() - start) * 1000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", default="")
    parser.add_argument("--camera", default="camera_feed")
    parser.add_argument("--detections", default="lane_detection")
    parser.add_argument("--broker-port", type=int)
    options = parser.parse_args()
    # One thread: the channel has the newest frame whenever this one is done.
    cv2.setNumThreads(1)
    detector = Detector()
    parameters = ParameterClient("detection", base_port=options.broker_port) if options.broker_port else None
    if parameters:
        parameters.register_callback(detector.set)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    detections = DetectionWriter(options.detections, namespace=options.namespace, period=0.1, max_age=0.25)
    # The first place is reserved for whoever detects.
    frames = ImageReader(options.camera, namespace=options.namespace, wait=float("inf"), place=0)
    try:
        while True:
            try:
                for frame in frames.frames(timeout=1.0):
                    detections.write(answer(frame, detector))
                    if parameters:
                        parameters.poll()
            except Stale as why:
                print(why, flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        detections.close()
        frames.close()


if __name__ == "__main__":
    main()
