"""Checks what goes over the wire against the schemas.

Usage: schemas.py broadcasts|requests BASE_PORT FOLDER_OF_SCHEMAS

`broadcasts` listens to a running broker, and asks it for things so that it answers. `requests` stands in the broker's place
and listens to what others ask it for; it says "listening" once they can. Ends with 0 once every kind of message has been
seen and was as its schema says, with 1 and the reason otherwise.
"""

import base64
import json
import sys
import time
from pathlib import Path

import zmq
from jsonschema import Draft202012Validator

MODE, BASE, FOLDER = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
DEADLINE = time.monotonic() + 50
CONTEXT = zmq.Context()
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
VALIDATORS = {}
for name, schema in SCHEMAS.items():
    Draft202012Validator.check_schema(schema)
    VALIDATORS[name] = Draft202012Validator(schema)
SEEN = {}


def socket(kind, port, binds=False):
    made = CONTEXT.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    if kind == zmq.SUB:
        made.setsockopt(zmq.SUBSCRIBE, b"")
    (made.bind if binds else made.connect)(f"tcp://127.0.0.1:{BASE + port}")
    return made


def check(port, schema, parts, count=2):
    assert len(parts) == count, f"{len(parts)} parts on port +{port}: {parts[0][:80]}"
    message = json.loads(parts[1])
    errors = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in VALIDATORS[schema].iter_errors(message)]
    assert not errors, f"port +{port}, {parts[0].decode()}, against {schema}: {errors}\n{message}"[:3000]
    SEEN[(port, parts[0].decode())] = message
    return message


def receive(port, from_socket, schema_of):
    while from_socket.poll(0):
        parts = from_socket.recv_multipart()
        topic = parts[0].decode()
        schema = schema_of(topic)
        assert schema in SCHEMAS, f"no schema for {topic!r} on port +{port}"
        message = check(port, schema, parts, 3 if topic == "frame" else 2)
        if topic == "frame":
            assert message["jpeg_size"] == len(parts[2]) and parts[2].startswith(b"\xff\xd8")
        if topic == "typed_frame":
            assert base64.b64decode(message["image"], validate=True).startswith(b"\xff\xd8")


def until(wanted, step):
    while not wanted <= set(SEEN):
        assert time.monotonic() < DEADLINE, f"in vain: {sorted(wanted - set(SEEN))}"
        step()
        time.sleep(0.02)


def broadcasts():
    broadcast, servers, vehicle = socket(zmq.SUB, 0), socket(zmq.SUB, 3), socket(zmq.SUB, 4)
    actions, parameters = socket(zmq.PUB, 1), socket(zmq.PUB, 2)
    due = 0

    def step():
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + 0.3
            for action in ({"action": "resume", "id": 1}, {"action": "explode"}, {"action": 7}):
                actions.send_multipart([b"action", json.dumps(action).encode()])
            actions.send_json({"action": "claim_commands", "client": "s", "params": {"holder": "a test"}})
            for value in (0.5, "0.5", 1):
                wish = {"category": "decision", "name": "kp", "value": value, "client": "s"}
                parameters.send_multipart([b"parameter", json.dumps(wish).encode()])
        receive(0, broadcast, lambda topic: "vehicle_status" if topic == "state" else topic)
        receive(3, servers, lambda topic: "tick" if topic == "tick" else "parameter")
        receive(4, vehicle, lambda topic: topic)

    topics = ["frame", "detection", "state", "telemetry", "parameter_status", "action_status", "status", "tick",
              "statistics", "typed_frame", "typed_detection", "typed_state"]
    until({(0, topic) for topic in topics} | {(3, "decision"), (3, "tick"), (4, "action"), (4, "tick")}, step)
    # What is optional was there as well: lines, a position in the lane, a lease, parameters with their declarations.
    rich = {
        "lines": lambda: SEEN[(0, "typed_detection")]["left_lane"],
        "a position": lambda: SEEN[(0, "typed_state")]["departure_status"],
        "a lease": lambda: SEEN[(0, "status")]["commands"]["lease"],
        "a declaration": lambda: SEEN[(0, "parameter_status")]["declared"],
        "processes": lambda: all(process["alive"] for process in SEEN[(0, "status")]["processes"]),
    }
    for what, is_there in rich.items():
        while not is_there():
            assert time.monotonic() < DEADLINE, f"in vain: {what}"
            step()
            time.sleep(0.02)


def requests():
    sockets = {1: socket(zmq.SUB, 1, True), 2: socket(zmq.SUB, 2, True), 5: socket(zmq.SUB, 5, True)}
    print("listening", flush=True)

    def step():
        for port, from_socket in sockets.items():
            receive(port, from_socket, lambda topic: topic)

    until({(1, "action"), (2, "parameter"), (5, "vehicle_status")}, step)


try:
    {"broadcasts": broadcasts, "requests": requests}[MODE]()
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(1)
