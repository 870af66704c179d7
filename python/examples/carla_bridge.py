"""CARLA in the place of the simulation: its camera on `camera_feed`, controls through the supervisor to its vehicle,
vehicle status and actions over ZeroMQ.

    python carla_bridge.py [--host HOST] [--port PORT] [--namespace NAME] [--broker-port PORT]

Needs CARLA 0.9 (`pip install carla==0.9.16`, and its server). The server runs in synchronous mode: a step of the world
for each frame, in real time, until the bridge ends and restores its settings.
"""

from __future__ import annotations

import argparse
import math
import signal
import time
from types import ModuleType
from typing import Any

import numpy as np

from lkas_channels import ActionClient, ChannelError, Control, ControlSupervisor, ImageWriter, VehicleStatusClient, now

#: Slower than this the vehicle stands, in km/h.
STANDING_KMH = 0.5
#: How often the vehicle's status is sent, in seconds.
STATUS_EVERY = 0.05


class Bridge:
    """A vehicle with a camera in CARLA's world, as the channels know it. `carla` is the module of that name."""

    def __init__(
        self,
        carla: ModuleType,
        *,
        host: str = "localhost",
        port: int = 2000,
        namespace: str = "",
        width: int = 800,
        height: int = 600,
        fps: float = 30.0,
        spawn_point: int = 0,
        broker_port: int = 5557,
    ) -> None:
        self.carla = carla
        self.period = 1.0 / fps
        self.paused = False
        self.shown: np.ndarray | None = None
        self.status_due = 0.0
        self.writer = ImageWriter(
            "camera_feed", (height, width, 3), namespace=namespace, period=2 * self.period, max_age=max(0.25, 4 * self.period)
        )
        # A predecessor's frames were numbered by the same sequence.
        self.frame_id = self.writer.sequence
        self.controls = ControlSupervisor("vehicle_control", namespace=namespace)
        self.status = VehicleStatusClient(base_port=broker_port)
        self.actions = ActionClient(base_port=broker_port)

        client = carla.Client(host, port)
        client.set_timeout(10.0)
        self.world = client.get_world()
        self.before = self.world.get_settings()
        settings = self.world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = self.period
        self.world.apply_settings(settings)
        self.actors: list[Any] = []
        try:
            self.vehicle = self.spawn_vehicle(spawn_point)
            self.camera = self.spawn_camera(width, height, fps)
        except BaseException:
            self.close()
            raise

    def spawn_vehicle(self, spawn_point: int) -> Any:
        points = self.world.get_map().get_spawn_points()
        if not points:
            raise RuntimeError("the map has no spawn points; load another one")
        self.start = points[spawn_point % len(points)]
        blueprint = self.world.get_blueprint_library().filter("vehicle.tesla.model3")[0]
        vehicle = self.world.spawn_actor(blueprint, self.start)
        self.actors.append(vehicle)
        return vehicle

    def spawn_camera(self, width: int, height: int, fps: float) -> Any:
        carla = self.carla
        blueprint = self.world.get_blueprint_library().find("sensor.camera.rgb")
        attributes = {"image_size_x": width, "image_size_y": height, "fov": 80, "sensor_tick": 0.0}
        for name, value in attributes.items():
            blueprint.set_attribute(name, str(value))
        place = carla.Transform(carla.Location(x=1.6, z=1.4), carla.Rotation(pitch=-5.0))
        camera = self.world.spawn_actor(blueprint, place, attach_to=self.vehicle)
        self.actors.append(camera)
        camera.listen(self.show)
        return camera

    def show(self, image: Any) -> None:
        """Publishes one frame. Called by CARLA, in a thread of its own."""
        self.frame_id += 1
        bgra = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
        with self.writer.loan(self.frame_id) as loan:
            np.copyto(loan.image, bgra[:, :, 2::-1])
            self.shown = loan.image

    def obey(self) -> None:
        """Does what was asked over the broker."""
        while (request := self.actions.poll()) is not None:
            action, _ = request
            print(action, flush=True)
            if action == "pause":
                self.paused = True
            elif action == "resume":
                self.paused = False
            elif action == "respawn":
                self.vehicle.set_target_velocity(self.carla.Vector3D(0.0, 0.0, 0.0))
                self.vehicle.set_transform(self.start)

    def speed_kmh(self) -> float:
        velocity = self.vehicle.get_velocity()
        return 3.6 * math.sqrt(velocity.x**2 + velocity.y**2 + velocity.z**2)

    def receive(self) -> None:
        """Takes the newest control. Where its channel can't be used, what is decided stays right: a stop."""
        try:
            self.controls.next(0.0)
        except ChannelError as why:
            print(why, flush=True)

    def stand(self) -> Control:
        """While paused, time stands still in CARLA's world; the camera goes on showing it."""
        self.receive()
        if self.shown is not None:
            self.frame_id += 1
            self.writer.write(self.shown, self.frame_id)
        return Control()

    def drive(self) -> Control:
        """Gives the vehicle what the supervisor says, and the world one step."""
        self.receive()
        control, events = self.controls.decide(self.speed_kmh() < STANDING_KMH)
        self.vehicle.apply_control(
            self.carla.VehicleControl(throttle=control.throttle, steer=control.steering, brake=control.brake)
        )
        self.world.tick()
        # Publish and drive first, speak after.
        for event in events:
            print(event, flush=True)
        return control

    def report(self, control: Control) -> None:
        if now() < self.status_due:
            return
        self.status_due = now() + STATUS_EVERY
        place = self.vehicle.get_transform()
        location, rotation = place.location, place.rotation
        self.status.send(
            steering=control.steering,
            throttle=control.throttle,
            brake=control.brake,
            speed_kmh=self.speed_kmh(),
            position=(location.x, location.y, location.z),
            rotation=(rotation.pitch, rotation.yaw, rotation.roll),
            paused=self.paused,
        )

    def step(self) -> None:
        """One turn."""
        start = time.monotonic()
        self.obey()
        control = self.stand() if self.paused else self.drive()
        self.report(control)
        time.sleep(max(0.0, self.period - (time.monotonic() - start)))

    def close(self) -> None:
        """Takes vehicle and camera out of the world, and gives it its own time back."""
        for actor in reversed(self.actors):
            if actor is getattr(self, "camera", None):
                actor.stop()
            actor.destroy()
        self.actors.clear()
        self.world.apply_settings(self.before)
        for handle in (self.writer, self.controls, self.status, self.actions):
            handle.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="localhost", help="where CARLA's server is")
    parser.add_argument("--port", type=int, default=2000)
    parser.add_argument("--namespace", default="")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--spawn-point", type=int, default=0)
    parser.add_argument("--broker-port", type=int, default=5557)
    options = parser.parse_args()
    import carla

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bridge = Bridge(carla, **vars(options))
    try:
        while True:
            bridge.step()
    except KeyboardInterrupt:
        pass
    finally:
        bridge.close()


if __name__ == "__main__":
    main()
