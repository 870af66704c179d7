"""Broker and clients over ZeroMQ."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from conftest import wait_until

from lkas.integration.zmq import LKASBroker
from lkas.integration.zmq import ParameterClient as OldParameterClient
from lkas_channels import ActionClient, Broker, Detection, Lane, ParameterClient, Released, VehicleStatusClient


def test_actions_and_states(base_port):
    import zmq

    context = zmq.Context()
    viewer, asking = context.socket(zmq.SUB), context.socket(zmq.PUB)
    viewer.connect(f"tcp://localhost:{base_port}")
    viewer.subscribe(b"")
    asking.connect(f"tcp://localhost:{base_port + 1}")
    called, unraisable = [], []
    with (
        Broker(base_port=base_port) as broker,
        ActionClient(base_port=base_port) as actions,
        VehicleStatusClient(base_port=base_port) as status,
    ):
        broker.register_action("pause", lambda **parameters: called.append((parameters, broker.has_viewers("state"))))
        broker.register_action("resume", lambda: 1 / 0)
        broker.register_action("respawn")
        got: dict[bytes, list[bytes]] = {}
        asked = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.unraisablehook", lambda what: unraisable.append(what.exc_type))

            def turn():
                asking.send_multipart([b"action", b'{"action": "pause", "params": {"hard": true}}'])
                asking.send_multipart([b"action", b'{"action": "resume"}'])
                broker.wait(0.01)
                broker.poll()
                status.send(steering=0.5, throttle=0.25, brake=0.0, speed_kmh=30.0, position=(1, 2, 3), paused=False)
                broker.broadcast_frame(np.zeros((48, 64), np.uint8), 3)
                broker.broadcast_detection(Detection(left=Lane(1, 2, 3, 4), frame_id=3))
                broker.broadcast_telemetry({"anything": [1, 2.5, None]})
                if (action := actions.poll()) is not None:
                    asked.append(action)
                while viewer.poll(0):
                    topic, *parts = viewer.recv_multipart()
                    got[topic] = parts
                wanted = {b"state", b"frame", b"detection", b"telemetry", b"action_status", b"parameter_status"}
                return called and unraisable and len({name for name, _ in asked}) == 2 and wanted <= set(got)

            wait_until(turn, "everything that a broker carries")
        assert called[0][0] == {"hard": True} and unraisable[0] is ZeroDivisionError
        assert dict(asked)["pause"] == {"hard": True}
        assert b'"speed_kmh":30.0' in got[b"state"][0] and b'"anything":[1,2.5,null]' in got[b"telemetry"][0]
        assert got[b"frame"][1].startswith(b"\xff\xd8")
        assert broker.statistics()["actions"]["received"] >= 2
        with pytest.raises(OSError, match="port"):
            Broker(base_port=base_port)
        with pytest.raises(ValueError):
            status.send(steering=float("nan"), throttle=0, brake=0, speed_kmh=0)
        with pytest.raises(ValueError, match="JSON"):
            broker.broadcast_telemetry({"x": float("nan")})
        with pytest.raises(ValueError, match="expected one of frame"):
            broker.has_viewers("weather")
    with pytest.raises(Released):
        broker.poll()
    viewer.close(0)
    asking.close(0)
    context.term()


@pytest.mark.parametrize("old", [False, True])
def test_parameters(base_port, old):
    broker = LKASBroker(broadcast_url=f"tcp://127.0.0.1:{base_port}")._broker if old else Broker(base_port=base_port)
    got = []
    client = (
        OldParameterClient("decision", broker_url=f"tcp://localhost:{base_port + 3}")
        if old
        else ParameterClient("decision", base_port=base_port)
    )
    client.register_callback(lambda name, value: got.append((name, value)))
    assert broker.set_parameter("decision", "kp", 5) == 2.0, "the nearest in range"
    assert broker.set_parameter("decision", "kd", 0.25) == broker.parameter("decision", "kd") == 0.25

    def turn():
        broker.poll()
        client.poll()
        return len(got) >= 2

    wait_until(turn, "the values in force, although the client came later")
    assert dict(got) == {"kp": 2, "kd": 0.25} and isinstance(dict(got)["kp"], int)
    for category, name in (("weather", "kp"), ("decision", "canny_low")):
        with pytest.raises(ValueError):
            broker.set_parameter(category, name, 1.0)
    with pytest.raises(ValueError):
        ParameterClient("weather")
    client.close()
    broker.close()


def test_urls_of_the_original_broker(base_port):
    urls = {
        "broadcast_url": f"tcp://*:{base_port}",
        "action_url": f"tcp://*:{base_port + 1}",
        "parameter_viewer_url": f"tcp://*:{base_port + 2}",
        "parameter_servers_url": f"tcp://*:{base_port + 3}",
        "action_forward_url": f"tcp://*:{base_port + 4}",
        "vehicle_status_url": f"tcp://*:{base_port + 5}",
    }
    broker = LKASBroker(**urls, verbose=True)
    assert broker.get_stats() == {"parameters_forwarded": 0, "actions_received": 0, "vehicle_status_received": 0}
    broker.close()
    with pytest.raises(ValueError, match="six in a row"):
        LKASBroker(**(urls | {"action_url": f"tcp://*:{base_port}"}))
    for bad in ("5557", "tcp://host", "udp://host:1", "tcp://:1", "tcp://host:x"):
        with pytest.raises(ValueError, match="expected tcp://HOST:PORT"):
            LKASBroker(broadcast_url=bad)


def test_what_ends_the_program_goes_through_callbacks(base_port, monkeypatch):
    unraisable = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: unraisable.append(what.exc_type))
    raising = [KeyboardInterrupt, SystemExit, ValueError]
    seen = []

    def callback(name, value):
        if raising:
            raise raising.pop(0)
        seen.append((name, value))

    with Broker(base_port=base_port) as broker, ParameterClient("decision", base_port=base_port) as client:
        client.register_callback(callback)
        broker.set_parameter("decision", "kp", 1)
        broker.set_parameter("decision", "kd", 0.25)

        def turn():
            broker.poll()
            return client.poll()

        for wanted in (KeyboardInterrupt, SystemExit):
            with pytest.raises(wanted):
                wait_until(turn, "a value")
        wait_until(lambda: (turn(), seen)[1], "what was left")
    assert unraisable == [ValueError] and seen


def test_what_ends_the_program_goes_through_handlers(base_port):
    zmq = pytest.importorskip("zmq")
    context = zmq.Context()
    asking = context.socket(zmq.PUB)
    asking.connect(f"tcp://localhost:{base_port + 1}")

    def leave():
        raise SystemExit

    with Broker(base_port=base_port) as broker:
        broker.register_action("pause", leave)

        def turn():
            asking.send_multipart([b"action", b'{"action": "pause"}'])
            broker.wait(0.01)
            broker.poll()

        with pytest.raises(SystemExit):
            wait_until(turn, "the action")
    asking.close(0)
    context.term()


@pytest.mark.parametrize("close", [True, False])
def test_who_owns_a_client_and_is_called_by_it_is_collected(base_port, close):
    class Owner:
        def __init__(self):
            self.client = ParameterClient("decision", base_port=base_port)
            self.client.register_callback(self.note)
            self.broker = Broker(base_port=base_port)
            self.broker.register_action("pause", self.note)

        def note(self, *_):
            pass

    owner = Owner()
    gone = weakref.ref(owner)
    if close:
        owner.client.close()
        owner.broker.close()
        del owner
        assert gone() is None, "what is closed forgets its callbacks"
    else:
        del owner
        gc.collect()
        assert gone() is None


def test_callbacks_are_checked(base_port):
    with Broker(base_port=base_port) as broker, ParameterClient("decision", base_port=base_port) as client:
        with pytest.raises(TypeError, match="of type int, expected a function"):
            broker.register_action("pause", 5)
        with pytest.raises(TypeError, match="of type int, expected a function"):
            client.register_callback(5)


def test_what_is_broadcast_is_checked_whether_or_not_somebody_watches(base_port):
    gray, image = np.zeros((4, 6), np.uint8), np.zeros((4, 6, 3), np.uint8)
    with Broker(base_port=base_port) as broker:
        assert broker.broadcast_frame(image[:, ::-1], 1, format="bgr8") is False
        for bad in ((gray, "hsv"), (image, "gray8"), (image[0, 0], "rgb8"), (image[:0], "rgb8")):
            with pytest.raises(ValueError):
                broker.broadcast_frame(bad[0], 1, format=bad[1])
        with pytest.raises(TypeError):
            broker.broadcast_frame(np.zeros((4, 6)), 1)
        with pytest.raises(ValueError, match="timestamp"):
            broker.broadcast_frame(image, 1, timestamp=float("nan"))
        with pytest.raises(ValueError):
            broker.broadcast_state(steering=float("nan"), throttle=0, brake=0, speed_kmh=0)


def test_every_topic_is_documented(base_port):
    with Broker(base_port=base_port) as broker, pytest.raises(ValueError) as caught:
        broker.has_viewers("weather")
    topics = str(caught.value).split("expected one of ")[1].split(", ")
    assert all(f'"{topic}"' in Broker.has_viewers.__doc__ for topic in topics)
