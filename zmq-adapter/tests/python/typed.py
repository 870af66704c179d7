"""A viewer, a server and a simulation that know ports and objects, and no topics: whatever an object is, its `type` says.

They subscribe to everything, send objects of one part, and look for objects in whatever comes.

Usage: typed.py BASE_PORT. Ends with 0 once every flow has been seen, with 1 and the reason otherwise.
"""

import base64
import json
import sys
import time

import zmq

BASE = int(sys.argv[1])
DEADLINE = time.monotonic() + 30
CONTEXT = zmq.Context()


def connect(kind, port):
    socket = CONTEXT.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    if kind == zmq.SUB:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(f"tcp://localhost:{BASE + port}")
    return socket


def objects(socket):
    """The objects among the parts that have come."""
    while socket.poll(0):
        for part in socket.recv_multipart():
            try:
                value = json.loads(part)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def main():
    broadcasts, actions, parameters = connect(zmq.SUB, 0), connect(zmq.PUB, 1), connect(zmq.PUB, 2)
    server, simulation, status = connect(zmq.SUB, 3), connect(zmq.SUB, 4), connect(zmq.PUB, 5)
    typed, plain, values, asked = {}, {}, {}, set()

    def until(what, done, step=lambda: None):
        while not done():
            if time.monotonic() > DEADLINE:
                raise AssertionError(f"in vain: {what}; seen: {typed}"[:2000])
            step()
            for message in objects(broadcasts):
                if "type" in message:
                    typed[message["type"]] = message
                elif "speed_kmh" in message:
                    plain.update(message)
            values.update({m["name"]: m["value"] for m in objects(server) if m.get("category") == "detection"})
            asked.update(m["action"] for m in objects(simulation) if "action" in m)
            time.sleep(0.01)

    until("broadcasts", lambda: {"frame", "detection"} <= set(typed))
    frame = typed["frame"]
    assert set(frame) == {"type", "frame_id", "image", "timestamp"}, set(frame)
    image = base64.b64decode(frame["image"], validate=True)
    assert image.startswith(b"\xff\xd8") and image.endswith(b"\xff\xd9") and len(image) == 140_000, len(image)
    assert isinstance(frame["frame_id"], int) and frame["timestamp"] == 1e9
    detection = typed["detection"]
    lane = {"x1": 200, "y1": 600, "x2": 350, "y2": 360, "confidence": detection["left_lane"]["confidence"]}
    assert detection["left_lane"] == lane and abs(lane["confidence"] - 0.95) < 1e-6, detection
    assert detection["right_lane"] is None and detection["processing_time_ms"] == 8.5
    assert set(detection) == {"type", "frame_id", "left_lane", "right_lane", "processing_time_ms"}

    until("an action", lambda: "pause" in asked, lambda: actions.send_json({"action": "pause"}))
    until("a typed action", lambda: "resume" in asked, lambda: actions.send_json({"type": "action", "action": "resume"}))
    wish = {"category": "detection", "name": "canny_low", "value": 60.0}
    until("a parameter", lambda: values.get("canny_low") == 60.0, lambda: parameters.send_json(wish))

    state = {"type": "state", "speed": 8.5, "steering": 0.125, "throttle": 0.15, "lateral_offset": -0.25,
             "heading_angle": 2.3, "departure_status": "drift"}
    until("a state", lambda: "state" in typed, lambda: status.send_json(state))
    assert typed["state"] == state, typed["state"]
    until("the same without a type", lambda: plain)
    assert abs(plain.pop("speed_kmh") - 30.6) < 1e-9, plain
    expected = {"steering": 0.125, "throttle": 0.15, "brake": 0.0, "position": None, "rotation": None, "paused": None}
    assert plain == expected, plain

    # A vehicle of the other kind, which does not know where it is in its lane; of the same connection.
    present = {"steering": 0.5, "throttle": 0.0, "brake": 1.0, "speed_kmh": 36.0, "position": None, "rotation": None,
               "paused": False}
    typed.clear()
    until("the other's state", lambda: typed.get("state", {}).get("speed") == 10.0,
          lambda: status.send_multipart([b"vehicle_status", json.dumps(present).encode()]))
    state = typed["state"]
    assert state["departure_status"] == "centered" and state["heading_angle"] == 2.5, state
    assert abs(state["lateral_offset"] + 0.05) < 1e-6 and state["steering"] == 0.5, state


try:
    main()
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(1)
