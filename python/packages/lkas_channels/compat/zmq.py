"""The broker and the parameter client of the original document, over `lkas_channels`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .. import _native

__all__ = ["LKASBroker", "ParameterClient"]

log = logging.getLogger("lkas_channels")

#: The actions that simulations know: forwarded whether or not somebody here handles them.
_ACTIONS = ("pause", "resume", "respawn")
#: Where each port lies behind the first.
_OFFSETS = {
    "broadcast_url": 0,
    "action_url": 1,
    "parameter_viewer_url": 2,
    "parameter_servers_url": 3,
    "action_forward_url": 4,
    "vehicle_status_url": 5,
}


def _address(name: str, url: str) -> tuple[str, int]:
    """The host of a URL and the first of the six ports that it belongs to."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0]
    try:
        port = parts.port or 0
    except ValueError:
        port = 0
    if parts.scheme != "tcp" or not host or not port:
        raise ValueError(f'{name} is "{url}", expected tcp://HOST:PORT')
    return host.strip("[]"), port - _OFFSETS[name]


class LKASBroker:
    """The broker: six ports, the first of which is 5557. It binds to this machine only, unless URLs say otherwise; these
    have to name six ports in a row. With `verbose`, what arrives goes to the log."""

    def __init__(
        self,
        parameter_viewer_url: str | None = None,
        parameter_servers_url: str | None = None,
        action_url: str | None = None,
        action_forward_url: str | None = None,
        vehicle_status_url: str | None = None,
        broadcast_url: str | None = None,
        context: object = None,
        verbose: bool = False,
    ) -> None:
        given = {
            "parameter_viewer_url": parameter_viewer_url,
            "parameter_servers_url": parameter_servers_url,
            "action_url": action_url,
            "action_forward_url": action_forward_url,
            "vehicle_status_url": vehicle_status_url,
            "broadcast_url": broadcast_url,
        }
        addresses = {_address(name, url) for name, url in given.items() if url is not None}
        if len(addresses) > 1:
            raise ValueError("the URLs name different hosts, or ports that are not the six in a row; give broadcast_url alone")
        host, base_port = addresses.pop() if addresses else ("127.0.0.1", 5557)
        self.verbose = verbose
        self._broker = _native.Broker(host=host, base_port=base_port)
        for action in _ACTIONS:
            self._broker.register_action(action)

    def register_action(self, action: str, callback: Callable[..., object]) -> None:
        """Calls `callback` with the action's parameters as keywords whenever `action` arrives. All actions that are
        registered, and pause, resume and respawn, are forwarded to the simulation."""
        self._broker.register_action(action, callback)

    def poll(self) -> None:
        """Handles what has arrived. Never waits."""
        count = self._broker.poll()
        if self.verbose and count:
            log.info("handled %d messages", count)

    def broadcast_frame(self, image: Any, frame_id: int, jpeg_quality: int = 85) -> None:
        """Broadcasts an RGB image as JPEG; encodes only where somebody watches."""
        self._broker.broadcast_frame(image, frame_id, quality=jpeg_quality)

    def broadcast_detection(self, detection_data: Mapping[str, Any], frame_id: int | None = None) -> None:
        """Broadcasts lane lines: `left_lane` and `right_lane` (each with x1, y1, x2, y2 and confidence, or None),
        `processing_time_ms` and `frame_id`."""

        def lane(name: str) -> _native.Lane | None:
            found = detection_data.get(name)
            if not found:
                return None
            return _native.Lane(found["x1"], found["y1"], found["x2"], found["y2"], found["confidence"])

        self._broker.broadcast_detection(
            _native.Detection(
                left=lane("left_lane"),
                right=lane("right_lane"),
                frame_id=int(detection_data.get("frame_id") or 0) if frame_id is None else frame_id,
                processing_time_ms=detection_data.get("processing_time_ms") or 0.0,
            )
        )

    def get_stats(self) -> dict[str, int]:
        """How many parameters were forwarded, and actions and vehicle statuses received."""
        found = self._broker.statistics()
        return {
            "parameters_forwarded": found["parameters"]["forwarded"],
            "actions_received": found["actions"]["received"],
            "vehicle_status_received": found["states"]["received"],
        }

    def close(self) -> None:
        """Gives the ports back."""
        self._broker.close()


class ParameterClient:
    """A server's side of parameters of `category`, "detection" or "decision". `broker_url`: the broker's fourth port;
    tcp://localhost:5560 unless told otherwise."""

    def __init__(self, category: str, broker_url: str | None = None) -> None:
        host, base_port = "127.0.0.1", 5557
        if broker_url is not None:
            parts = urlsplit(broker_url)
            if parts.scheme != "tcp" or not parts.hostname or not parts.port:
                raise ValueError(f'broker_url is "{broker_url}", expected tcp://HOST:PORT')
            host, base_port = parts.hostname, parts.port - _OFFSETS["parameter_servers_url"]
        self._client = _native.ParameterClient(category, host=host, base_port=base_port)

    def register_callback(self, callback: Callable[[str, float], object]) -> None:
        """Calls `callback(name, value)` for each value from now on."""
        self._client.register_callback(callback)

    def poll(self) -> bool:
        """Calls back for what has arrived; whether there was something. Never waits."""
        return self._client.poll() > 0

    def close(self) -> None:
        """Disconnects."""
        self._client.close()
