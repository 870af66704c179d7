"""The blocks of Python in the document that this system was specified in, run as they stand.

What a block takes for granted (a camera, a viewer, names that it does not define) stands around it; its placeholders are
filled; nothing else is changed. The document is no part of the repository: where it is missing, this is left out.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import private
import pytest

import lkas.integration.shared_memory.messages as messages

DOCUMENT = Path(__file__).resolve().parents[3] / "shared" / "design" / "5-original-document.md"

pytestmark = pytest.mark.skipif(
    not DOCUMENT.exists(), reason=f"LEFT OUT: the original document is not here ({DOCUMENT})"
)

#: What stands around the blocks.
AROUND = '''
import threading, time
import numpy as np
from dataclasses import asdict, dataclass
from lkas_channels import Broker, now
from lkas.integration.shared_memory import *
from lkas.integration.shared_memory.messages import *

GENEROUS = 60.0
image_array = np.full((600, 800, 3), 77, np.uint8)

class Running:
    """True, turn after turn, until `done` says so; `turn` is what the world does in between."""
    def __init__(self, turn, done):
        self.turn, self.done, self.end = turn, done, time.monotonic() + GENEROUS
    def __bool__(self):
        assert time.monotonic() < self.end, "waited in vain"
        self.turn()
        time.sleep(0.002)
        return not self.done()

class World:
    """A camera, a detection, a decision: all that is on the channels."""
    def __init__(self):
        self.camera = ImageChannel("camera_feed", create=True, width=800, height=600)
        self.detections = DetectionChannel("lane_detection", create=True)
        self.controls = ControlChannel("vehicle_control", create=True)
        self.number = 0
    def turn(self):
        self.number += 1
        self.camera.write(image_array, frame_id=self.number)
        self.detections.write(LaneMessage(200, 600, 350, 360, 0.95), None, frame_id=self.number)
        self.controls.write(0.1, 0.2, 0.0)

class Viewer:
    """A viewer in Python, as they are: SUB and PUB sockets."""
    def __init__(self):
        import zmq
        self.context = zmq.Context()
        self.sub, self.actions, self.parameters = (self.context.socket(kind) for kind in (zmq.SUB, zmq.PUB, zmq.PUB))
        self.sub.connect("tcp://localhost:5557")
        self.actions.connect("tcp://localhost:5558")
        self.parameters.connect("tcp://localhost:5559")
        self.sub.subscribe(b"")
        self.got = {}
    def turn(self):
        import json
        self.actions.send_multipart([b"action", b'{"action": "pause"}'])
        update = {"category": "detection", "parameter": "canny_low", "value": 60.0}
        self.parameters.send_multipart([b"parameter", json.dumps(update).encode()])
        while self.sub.poll(0):
            topic, *parts = self.sub.recv_multipart()
            self.got[topic.decode()] = [json.loads(parts[0]), *parts[1:]]

class Detector:
    def __init__(self):
        self.parameters = {}
    def update_parameter(self, name, value):
        self.parameters[name] = value
    def detect(self, image):
        assert image.shape == (600, 800, 3) and (image == 77).all()
        class Result:
            left_lane, right_lane, processing_time_ms = True, None, 1.5
        return Result()

create_detector = Detector
'''

#: For each block that is meant to run: what it is known by, what stands before it, and what must hold after it.
BLOCKS = {
    "image channel": ("ImageChannel(name=", "", 'assert (msg.frame_id, msg.image.max()) == (1, 77)'),
    "detection channel": (
        "left_lane = LaneMessage(x1=200",
        "",
        "assert (msg.left_lane, msg.right_lane.x2, msg.processing_time_ms) == (left_lane, 450, 8.5)",
    ),
    "control channel": (
        "vehicle.apply_control",
        "class Vehicle:\n    def apply_control(self, *control): self.control = control\nvehicle = Vehicle()",
        "assert vehicle.control in ((0.125, 0.15, 0.0), (0.125, 0.0, 0.6)), vehicle.control  # or it took 0.25 s\n"
        "assert (msg.lateral_offset, msg.heading_angle) == (-0.05, 2.3) or msg.brake == 0.6",
    ),
    "broker": (
        "broker.register_action('pause'",
        "world, viewer = World(), Viewer()\n"
        "image_channel, detection_channel = ImageChannel('camera_feed'), DetectionChannel('lane_detection')\n"
        "said = []\n"
        "print = lambda *words: said.append(words)\n"
        "running = Running(lambda: (world.turn(), viewer.turn()),\n"
        "    lambda: {'frame', 'detection'} <= set(viewer.got) and said)",
        "assert said[0] == ('Paused',)\n"
        "assert viewer.got['frame'][1].startswith(b'\\xff\\xd8') and viewer.got['frame'][0]['width'] == 800\n"
        "assert viewer.got['detection'][0]['left_lane']['x1'] == 200",
    ),
    "parameter client": (
        "hasattr(self.detector, 'update_parameter')",
        "broker = Broker()",
        "server = DetectionServer()\n"
        "server.detector = Detector()\n"
        "def turn():\n    broker.set_parameter('detection', 'canny_low', 60.0); broker.poll()\n"
        "server.running = Running(turn, lambda: server.detector.parameters)\n"
        "server.run()\nserver.stop()\n"
        "assert server.detector.parameters == {'canny_low': 60}",
    ),
    "complete system": (
        "broker = LKASBroker() if args.broadcast else None",
        "world, viewer = World(), Viewer()\n"
        "class args: broadcast = True\n"
        "running = Running(lambda: (world.turn(), viewer.turn()),\n"
        "    lambda: {'frame', 'detection'} <= set(viewer.got))",
        "assert viewer.got['detection'][0]['left_lane']['y2'] == 360\n"
        "assert control_msg.steering == 0.1",
    ),
    "complete system without viewers": (
        "broker = LKASBroker() if args.broadcast else None",
        "world = World()\n"
        "class args: broadcast = False\n"
        "running = Running(world.turn, lambda: world.number > 20)",
        "assert broker is None and image_msg.frame_id == detection_msg.frame_id == 20 or world.number > 20",
    ),
    "detection server with both modes": (
        "self.image_channel.unlink()",
        "world, viewer, broker = World(), Viewer(), Broker()\n"
        "world.detections.close()",
        "server = DetectionServer()\n"
        "results = DetectionChannel('lane_detection')\n"
        "found = []\n"
        "def turn():\n"
        "    world.camera.write(image_array, frame_id=9)\n"
        "    viewer.turn(); broker.poll()\n"
        "    found.append(results.read())\n"
        "server.running = Running(turn, lambda: any(found) and server.detector.parameters)\n"
        "server.run()\n"
        "server.stop()\n"
        "answer = next(answer for answer in found if answer)\n"
        "assert (answer.frame_id, answer.left_lane.x1, answer.right_lane, answer.processing_time_ms) == (9, 1, None, 1.5)\n"
        "assert server.detector.parameters == {'canny_low': 60}",
    ),
}


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def filled(block: str) -> str:
    """The block with its placeholders replaced."""
    lane = "{'x1': 200, 'y1': 600, 'x2': 350, 'y2': 360, 'confidence': 0.95}"
    return block.replace("{...}", lane).replace("LaneMessage(...)", "LaneMessage(1, 2, 3, 4, 0.5)")


@pytest.mark.parametrize("what", BLOCKS)
def test_block(what, tmp_path):
    known_by, before, after = BLOCKS[what]
    (block,) = [block for block in blocks() if known_by in block]
    script = tmp_path / "block.py"
    script.write_text("\n".join((AROUND, before, filled(block), after, "import os; os._exit(0)")))
    done = private.run(script, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_block_is_run_or_defines_a_message():
    known = [known_by for known_by, _, _ in BLOCKS.values()]
    for block in blocks():
        assert any(key in block for key in known) or block.startswith("@dataclass"), block


def test_messages_have_the_fields_that_it_lists():
    count = 0
    for block in blocks():
        if not block.startswith("@dataclass"):
            continue
        for definition in ast.parse(block).body:
            assert isinstance(definition, ast.ClassDef)
            listed = [field.target.id for field in definition.body]
            ours = [field.name for field in dataclasses.fields(getattr(messages, definition.name))]
            assert ours[: len(listed)] == listed, definition.name
            count += 1
    assert count == 4
