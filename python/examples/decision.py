"""A decision server: takes detections, decides how to steer, publishes controls.

    python decision.py [--namespace NAME] [--broker-port PORT]

Steers in proportion to how far to the side the lane's middle is some metres ahead, and to how fast that changes.
Without detections, and without lines for half a second, it commands an emergency stop.
"""

from __future__ import annotations

import argparse
import math
import signal

from lkas_channels import Control, ControlWriter, Departure, Detection, DetectionReader, Lane, Mode, ParameterClient, now

#: Width of a lane, and how far ahead the lane's middle is aimed at, in metres.
LANE_WIDTH_M, LOOK_AHEAD_M = 3.5, 9.0
#: Horizontal field of view of the camera, in degrees.
FIELD_OF_VIEW_DEG = 80.0
#: Without a detection for so long, the command is an emergency stop, in seconds.
DETECTION_TIMEOUT = 0.2
#: For so long without any line, the last steering is held, in seconds.
HOLD = 0.5
PARAMETERS = {
    "kp": 0.5,
    "kd": 0.1,
    "throttle_base": 0.14,
    "throttle_min": 0.05,
    "steer_threshold": 0.15,
    "steer_max": 0.7,
}


def x_at(lane: Lane, y: float) -> float:
    return lane.x1 + (y - lane.y1) * (lane.x2 - lane.x1) / (lane.y2 - lane.y1)


class LaneKeeper:
    """Decides from one detection after the other."""

    def __init__(self) -> None:
        self.parameters: dict[str, float] = dict(PARAMETERS)
        self.steering = 0.0
        self.error: float | None = None
        self.derivative = 0.0
        self.seen = -math.inf
        self.time = 0.0
        self.widths: tuple[float, float] | None = None

    def set(self, name: str, value: float) -> None:
        self.parameters[name] = value

    def levels(self, detection: Detection) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Middle and width of the lane at the bottom of the frame and ahead; None where there is no lane."""
        line = detection.left or detection.right
        if line is None:
            return None
        found = []
        for place, y in enumerate((line.y1, line.y2)):
            if detection.left and detection.right:
                left, right = x_at(detection.left, y), x_at(detection.right, y)
                found.append(((left + right) / 2, right - left))
            elif self.widths:
                width = self.widths[place]
                offset = width / 2 if detection.left else -width / 2
                found.append((x_at(line, y) + offset, width))
            else:
                return None
        (_, bottom), (_, top) = found
        if not 0.02 * detection.width < top < bottom:
            return None
        if detection.left and detection.right:
            self.widths = (bottom, top)
        return found[0], found[1]

    def decide(self, detection: Detection) -> Control:
        frame = {"frame_id": detection.frame_id, "timestamp": detection.timestamp}
        dt, self.time = detection.timestamp - self.time, detection.timestamp
        levels = self.levels(detection)
        if levels is None:
            self.error = None
            if detection.timestamp - self.seen > HOLD:
                return Control(**frame)
            return Control(
                Mode.LANE_KEEPING, self.steering, self.parameters["throttle_min"], 0.0, **frame
            )
        self.seen = detection.timestamp
        (middle, bottom), (far_middle, top) = levels
        axis = detection.width / 2
        focal = axis / math.tan(math.radians(FIELD_OF_VIEW_DEG / 2))
        # The lane looks as wide as focal length times its width over its distance.
        width = min(max(focal * LANE_WIDTH_M / LOOK_AHEAD_M, top), bottom)
        share = (bottom - width) / (bottom - top)
        error = (middle + share * (far_middle - middle) - axis) / (width / 2)
        if self.error is not None and 0 < dt <= 0.25:
            self.derivative += dt / (0.15 + dt) * ((error - self.error) / dt - self.derivative)
        else:
            self.derivative = 0.0
        self.error = error
        p = self.parameters
        steering = p["kp"] * error + p["kd"] * self.derivative
        self.steering = min(max(steering, -p["steer_max"]), p["steer_max"])
        beyond = max(0.0, abs(self.steering) - p["steer_threshold"]) / max(1e-6, p["steer_max"] - p["steer_threshold"])
        throttle = p["throttle_base"] + min(1.0, beyond) * (p["throttle_min"] - p["throttle_base"])
        offset = (axis - middle) / (bottom / 2)
        departure = Departure.CENTRED if abs(offset) < 0.25 else Departure.DRIFT
        if abs(offset) > 0.5:
            departure = Departure.DEPARTURE
        return Control(
            Mode.LANE_KEEPING,
            self.steering,
            throttle,
            0.0,
            lateral_offset=offset,
            lateral_offset_m=offset * LANE_WIDTH_M / 2,
            lane_width_px=bottom,
            departure=departure,
            **frame,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", default="")
    parser.add_argument("--detections", default="lane_detection")
    parser.add_argument("--controls", default="vehicle_control")
    parser.add_argument("--broker-port", type=int)
    options = parser.parse_args()
    keeper = LaneKeeper()
    parameters = ParameterClient("decision", base_port=options.broker_port) if options.broker_port else None
    if parameters:
        parameters.register_callback(keeper.set)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    controls = ControlWriter(options.controls, namespace=options.namespace, period=0.1, max_age=0.25)
    # The first place is reserved for whoever decides.
    detections = DetectionReader(options.detections, namespace=options.namespace, wait=float("inf"), place=0)
    last: Detection | None = None
    came = now()
    try:
        while True:
            detections.wait(0.05)
            detection = detections.take()
            if detection is not None:
                controls.write(keeper.decide(detection))
                last, came = detection, now()
            elif last is not None and now() - came > DETECTION_TIMEOUT:
                # Silence is no reason to drive on.
                controls.write(Control(frame_id=last.frame_id, timestamp=last.timestamp))
            if parameters:
                parameters.poll()
    except KeyboardInterrupt:
        pass
    finally:
        controls.close()
        detections.close()


if __name__ == "__main__":
    main()
