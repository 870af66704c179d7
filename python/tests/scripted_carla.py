"""A world with the names of CARLA's, as far as the bridge uses them, and a vehicle on an endless straight road."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Vector3D:
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


@dataclass
class Location:
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


@dataclass
class Rotation:
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0


@dataclass
class Transform:
    location: Location = field(default_factory=Location)
    rotation: Rotation = field(default_factory=Rotation)


@dataclass
class VehicleControl:
    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0


@dataclass
class WorldSettings:
    synchronous_mode: bool = False
    fixed_delta_seconds: float | None = None


@dataclass
class Image:
    raw_data: bytes
    width: int
    height: int


class ActorBlueprint:
    def __init__(self, name: str) -> None:
        self._name, self._attributes = name, {}

    def set_attribute(self, name: str, value: str) -> None:
        assert isinstance(value, str)
        self._attributes[name] = value


class BlueprintLibrary:
    def filter(self, pattern: str) -> list[ActorBlueprint]:
        return [ActorBlueprint(pattern)]

    def find(self, name: str) -> ActorBlueprint:
        return ActorBlueprint(name)


class Vehicle:
    def __init__(self, place: Transform) -> None:
        self._x, self._yaw, self._speed, self._alive = place.location.x, place.rotation.yaw, 0.0, True
        self._control = VehicleControl()

    def apply_control(self, control: VehicleControl) -> None:
        self._control = control

    def get_velocity(self) -> Vector3D:
        return Vector3D(self._speed * math.cos(self._yaw), self._speed * math.sin(self._yaw), 0.0)

    def get_transform(self) -> Transform:
        return Transform(Location(x=self._x), Rotation(yaw=self._yaw))

    def set_transform(self, place: Transform) -> None:
        self._x = place.location.x

    def set_target_velocity(self, velocity: Vector3D) -> None:
        self._speed = velocity.x

    def destroy(self) -> bool:
        self._alive = False
        return True

    def _step(self, dt: float) -> None:
        control = self._control
        self._speed = max(0.0, self._speed + (4.0 * control.throttle - 8.0 * control.brake) * dt)
        self._yaw += control.steer * self._speed * dt / 3.0
        self._x += self._speed * dt


class Sensor:
    def __init__(self, blueprint: ActorBlueprint) -> None:
        self._blueprint, self._listener, self._alive = blueprint, None, True

    def listen(self, listener: Any) -> None:
        self._listener = listener

    def stop(self) -> None:
        self._listener = None

    def destroy(self) -> bool:
        self._alive = False
        return True

    def _step(self) -> None:
        width, height = (int(self._blueprint._attributes[f"image_size_{side}"]) for side in "xy")
        # Blue, green, red, alpha.
        pixels = np.empty((height, width, 4), np.uint8)
        pixels[:] = (10, 20, 30, 255)
        if self._listener:
            self._listener(Image(pixels.tobytes(), width, height))


class Map:
    def get_spawn_points(self) -> list[Transform]:
        return [Transform(Location(x=100.0)), Transform(Location(x=200.0))]


class World:
    def __init__(self) -> None:
        self._settings, self._actors, self._ticks = WorldSettings(), [], 0

    def get_settings(self) -> WorldSettings:
        return WorldSettings(self._settings.synchronous_mode, self._settings.fixed_delta_seconds)

    def apply_settings(self, settings: WorldSettings) -> int:
        self._settings = settings
        return self._ticks

    def get_map(self) -> Map:
        return Map()

    def get_blueprint_library(self) -> BlueprintLibrary:
        return BlueprintLibrary()

    def spawn_actor(self, blueprint: ActorBlueprint, place: Transform, attach_to: Any = None) -> Any:
        actor = Sensor(blueprint) if blueprint._name.startswith("sensor") else Vehicle(place)
        self._actors.append(actor)
        return actor

    def tick(self) -> int:
        assert self._settings.synchronous_mode
        self._ticks += 1
        for actor in self._actors:
            if isinstance(actor, Vehicle):
                actor._step(self._settings.fixed_delta_seconds or 0.0)
            else:
                actor._step()
        return self._ticks


_world = World()


class Client:
    def __init__(self, host: str, port: int) -> None:
        assert host and port

    def set_timeout(self, seconds: float) -> None:
        assert seconds > 0

    def get_world(self) -> World:
        return _world
