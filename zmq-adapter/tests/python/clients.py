"""A viewer, a parameter client and a simulation in the manner of the Python programs that are in use.

Usage: clients.py BASE_PORT. Ends with 0 once every flow has been seen, with 1 and the reason otherwise.
"""

import json
import sys
import time
from dataclasses import dataclass
from typing import List, Optional

import zmq

BASE = int(sys.argv[1])
DEADLINE = time.monotonic() + 30
CONTEXT = zmq.Context()


def connect(kind, port, topics=()):
    socket = CONTEXT.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM if kind == zmq.SUB else zmq.SNDHWM, 10)
    for topic in topics:
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(f"tcp://localhost:{BASE + port}")
    return socket


# Fixed records: one key too many, or one too few, and the message is lost.
@dataclass
class Lane:
    x1: float
    y1: float
    x2: float
    y2: float
    confidence: float


@dataclass
class Detection:
    left_lane: Optional[Lane]
    right_lane: Optional[Lane]
    processing_time_ms: float
    frame_id: int

    def __post_init__(self):
        self.left_lane = self.left_lane and Lane(**self.left_lane)
        self.right_lane = self.right_lane and Lane(**self.right_lane)


@dataclass
class State:
    steering: float
    throttle: float
    brake: float
    speed_kmh: float
    position: Optional[List[float]] = None
    rotation: Optional[List[float]] = None
    paused: Optional[bool] = None


class Viewer:
    def __init__(self):
        self.broadcasts = connect(zmq.SUB, 0, [b"frame", b"detection", b"state"])
        self.actions = connect(zmq.PUB, 1)
        self.parameters = connect(zmq.PUB, 2)
        self.seen = {}

    def poll(self):
        while True:
            try:
                parts = self.broadcasts.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            topic = parts[0].decode("utf-8")
            if topic == "frame":
                _, header, jpeg = parts
                header = json.loads(header.decode("utf-8"))
                assert set(header) == {"timestamp", "frame_id", "width", "height", "jpeg_size"}, header
                assert header["jpeg_size"] == len(jpeg), header
                assert isinstance(header["frame_id"], int) and (header["width"], header["height"]) == (800, 600)
                self.seen["frame"] = jpeg
            elif topic == "detection":
                _, body = parts
                detection = Detection(**json.loads(body.decode("utf-8")))
                which = "both lanes" if detection.left_lane and detection.right_lane else "no lanes"
                self.seen[which] = detection
            elif topic == "state":
                _, body = parts
                self.seen["state"] = State(**json.loads(body.decode("utf-8")))
            else:
                raise AssertionError(f"unexpected topic {topic}")

    def send_action(self, action):
        message = {"action": action, "params": {}, "timestamp": time.time()}
        self.actions.send_multipart([b"action", json.dumps(message).encode("utf-8")])

    def send_parameter(self, category, name, value, key="parameter"):
        message = {"category": category, key: name, "value": value, "timestamp": time.time()}
        self.parameters.send_multipart([b"parameter", json.dumps(message).encode("utf-8")])


class Server:
    def __init__(self, category):
        self.socket = connect(zmq.SUB, 3, [category])
        self.values = {}

    def poll(self):
        while True:
            try:
                topic, body = self.socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            message = json.loads(body.decode("utf-8"))
            assert message["category"] == topic.decode("utf-8")
            assert message["name"] == message["parameter"] and message["timestamp"] > 0
            self.values[message["parameter"]] = message["value"]


class Simulation:
    def __init__(self):
        self.actions = connect(zmq.SUB, 4, [b"action"])
        self.status = connect(zmq.PUB, 5)
        self.seen = set()

    def poll(self):
        while True:
            try:
                _, body = self.actions.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            message = json.loads(body.decode("utf-8"))
            assert message["params"] == {} and message["timestamp"] > 0, message
            self.seen.add(message["action"])

    def send(self, state):
        self.status.send_multipart([b"vehicle_status", json.dumps(state).encode("utf-8")])


def main():
    viewer, detection, decision, simulation = Viewer(), Server(b"detection"), Server(b"decision"), Simulation()
    parties = [viewer, detection, decision, simulation]

    def until(what, done, step=lambda: None):
        while not done():
            if time.monotonic() > DEADLINE:
                raise AssertionError(f"in vain: {what}")
            step()
            for party in parties:
                party.poll()
            time.sleep(0.01)

    until("broadcasts", lambda: {"frame", "both lanes", "no lanes"} <= set(viewer.seen))
    assert viewer.seen["frame"].startswith(b"\xff\xd8"), "the picture is a JPEG"

    state = {"steering": -0.25, "throttle": 1, "brake": 0.0, "speed_kmh": 60, "position": [1.5, 2, 3],
             "rotation": None, "paused": False}
    until("state", lambda: "state" in viewer.seen, lambda: simulation.send(state))
    assert viewer.seen["state"] == State(**state), viewer.seen["state"]

    for action in ["pause", "resume", "respawn"]:
        until(action, lambda: action in simulation.seen, lambda: viewer.send_action(action))

    def send_parameters():
        viewer.send_parameter("detection", "hough_threshold", 60)
        viewer.send_parameter("detection", "smoothing_factor", 0.25, key="name")
        viewer.send_parameter("decision", "kp", 7.5)

    until("parameters", lambda: len(detection.values) == 2 and len(decision.values) == 1, send_parameters)
    # Integers stay integers: OpenCV insists on them.
    expected = {"hough_threshold": 60, "smoothing_factor": 0.25}
    assert detection.values == expected and isinstance(detection.values["hough_threshold"], int), detection.values
    assert decision.values == {"kp": 7.5}, "what a server accepts is its own affair"

    # NaN changes nothing, and what comes after it is accepted.
    viewer.send_parameter("decision", "kp", float("nan"))
    until("the next value", lambda: decision.values["kp"] == 1.5, lambda: viewer.send_parameter("decision", "kp", 1.5))
    viewer.parameters.send_multipart([b"parameter", b"no JSON"])

    # A server that restarts has nothing to wait for but its own connection.
    detection.socket.close()
    parties[1] = detection = Server(b"detection")
    until("the replay", lambda: detection.values == expected)


try:
    main()
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(1)
