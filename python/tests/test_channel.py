"""Channels of one's own structured types."""

from __future__ import annotations

import asyncio
import json
import subprocess

import numpy as np
import pytest
from conftest import GENEROUS, wait_until
from systems import needs_programs, programs

from lkas_channels import Channel, ControlWriter, NoChannel, Released, Stale, WrongType

WHEEL = np.dtype([("rate", "<f4"), ("blocked", "?")], align=True)
CAR = np.dtype(
    [("stamp", "<f8"), ("gear", "i1"), ("axes", "<f4", (3,)), ("wheels", WHEEL, (2,)), ("grid", "<u2", (2, 2))], align=True
)
UNITS = {"stamp": "s", "wheels[0].rate": "rad/s", "wheels[1].rate": "rad/s"}


def value(number: int) -> tuple:
    return (1.5, -2, (1, 2, 3), [(number, True), (number + 1, False)], [[1, 2], [3, 4]])


def test_values_pass(name):
    channel = Channel(name, CAR, units=UNITS)
    with pytest.raises(NoChannel):
        channel.open()
    with channel.create(readers=3, period=0.1, max_age=0.2) as writer, channel.open() as reader:
        assert reader.take() is None and reader.latest(max_age=0) is None
        writer.write(value(10))
        assert reader.wait(GENEROUS)
        found = reader.take()
        assert found == np.array(value(10), CAR) and found["wheels"]["rate"].tolist() == [10, 11]
        assert found["grid"].tolist() == [[1, 2], [3, 4]] and found["gear"] == -2
        assert reader.take() is None and reader.latest() == found
        writer.write(found)
        for number in range(3):
            writer.write(dict(zip(CAR.names, value(number), strict=True)))
        assert reader.take()["wheels"][0]["rate"] == 2 and reader.missed == 3 and reader.sequence == writer.sequence == 5
        with pytest.raises(Stale):
            reader.latest(max_age=0)
        with pytest.raises(Stale, match="nothing new"):
            list(reader.values(timeout=0.01))
        with pytest.raises(ValueError, match="expected \\['axes'"):
            writer.write({"stamp": 1})
        assert found["wheels"]["rate"].tolist() == [10, 11], "a copy"

        async def first():
            async for record in reader:
                return record["stamp"]

        writer.write(value(1))
        assert asyncio.run(asyncio.wait_for(first(), GENEROUS)) == 1.5
    for use in (reader.take, lambda: writer.write(value(1))):
        with pytest.raises(Released):
            use()


def test_a_reader_without_a_type_takes_that_of_the_channel(name):
    with Channel(name, CAR, type_name="Car").create() as writer, Channel(name).open() as reader:
        writer.write(value(7))
        record = reader.take()
        assert reader.type_name == "Car" and record["wheels[1].rate"] == 8 and record["wheels[0].blocked"]
        assert record["grid"].tolist() == [1, 2, 3, 4] and reader.dtype.itemsize == CAR.itemsize
    with ControlWriter(name + ".c") as controls, Channel(name + ".c").open() as reader:
        assert "steering" in reader.dtype.names and reader.type_name == "lkas.Control"
        del controls


def test_text(name):
    with Channel(name, [("word", "S8"), ("x", "<f4")]).create() as writer, Channel(name).open() as reader:
        writer.write((b"lane", 1))
        record = reader.take()
        assert record["word"] == b"lane" and record["x"] == 1 and reader.dtype["word"] == np.dtype("S8")


def test_types_are_checked(name):
    with Channel(name, [("x", "<f4"), ("y", "<f4")]).create():
        for other in ([("x", "<f4"), ("z", "<f4")], [("x", "<i4"), ("y", "<f4")], [("x", "<f4")]):
            with pytest.raises(WrongType):
                Channel(name, other).open()
        with pytest.raises(WrongType):
            Channel(name, [("x", "<f4"), ("y", "<f4")], type_name="other").open()
    for bad in ("f4", [("x", "O")], [("x", "S3", 2)], [("x", ">f4")], [("x", "<c8")], [("x", "<f2")]):
        with pytest.raises(TypeError):
            Channel(name, bad)
    with pytest.raises(ValueError, match="units of fields"):
        Channel(name, [("x", "<f4")], units={"y": "m"})
    with pytest.raises(TypeError, match="needs one"):
        Channel(name).create()


def test_a_reader_follows_its_channel(name):
    channel = Channel(name, [("x", "<f4")])
    with channel.create(readers=2) as writer:
        writer.write((1,))
        reader = channel.open()
        assert reader.take()["x"] == 1
    with channel.create(readers=3) as writer:
        writer.write((2,))
        wait_until(lambda: reader.latest()["x"] == 2, "the new channel's value")
    with Channel(name, [("x", "<f8")]).create(readers=2):
        def refuses():
            try:
                reader.take()
            except WrongType:
                return True
        wait_until(refuses, "the other type's refusal")
    reader.close()


@needs_programs
def test_lkas_echo_prints_them(name):
    with Channel(name, CAR, units=UNITS).create() as writer:
        writer.write(value(3))
        command = [programs() / "lkas", "echo", name, "--json", "--count", "1"]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert printed.returncode == 0, printed.stderr
        fields = json.loads(printed.stdout)["fields"]
        assert fields["wheels[1].rate"] == 4.0 and fields["wheels[0].blocked"] is True and fields["axes"] == [1, 2, 3]
        text = subprocess.run(
            [programs() / "lkas", "echo", name, "--count", "1"], capture_output=True, text=True, timeout=60
        ).stdout
        assert "rad/s" in text and name in text


POINT = np.dtype([("x", "<f4"), ("y", "<f4")])
NOTE = np.dtype([("word", "S4"), ("count", "u1"), ("point", POINT), ("axes", "<f4", (3,))])


def test_only_whole_values_are_written(name):
    swapped = np.zeros((), [("y", "<f4"), ("x", "<f4")])
    good = {"word": b"lane", "count": 1, "point": {"x": 1, "y": 2}, "axes": (1, 2, 3)}
    with Channel(name, POINT).create() as writer, Channel(name).open() as reader:
        for bad in (swapped, swapped[()], None, 5, "1", b"2", True, [1, 2], (1,), (1, 2, 3), ("1", 2), (None, 2)):
            with pytest.raises((TypeError, ValueError)):
                writer.write(bad)
        assert reader.take() is None
        writer.write(np.array((1, 2), POINT))
        assert reader.take().tolist() == (1, 2)
    with Channel(name + ".note", NOTE).create() as writer, Channel(name + ".note", NOTE).open() as reader:
        for bad in (
            {"word": b"lanes"}, {"word": 5}, {"count": 256}, {"count": -1}, {"count": 1.5}, {"count": float("nan")},
            {"point": {"x": 1}}, {"point": swapped}, {"point": 1}, {"axes": 1}, {"axes": (1, 2)}, {"axes": "123"},
        ):
            with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
                writer.write(good | bad)
        assert reader.take() is None
        writer.write(good)
        assert reader.take() == np.array((b"lane", 1, (1, 2), (1, 2, 3)), NOTE)
        writer.write(tuple(good.values()))
        record = reader.take()
        record["count"] = 7
        assert record["count"] == 7 and reader.latest()["count"] == 1, "a record of one's own"


def test_the_type_that_a_reader_got_is_that_of_the_channel(name):
    packed = np.dtype([("x", "<f4"), ("flag", "?")])
    for kind, dtype in enumerate([CAR, packed, np.dtype([("flag", "?"), ("x", "<f4")]), np.dtype([("word", "S8")])]):
        with Channel(f"{name}.{kind}", dtype).create() as writer, Channel(f"{name}.{kind}").open() as reader:
            with Channel(f"{name}.{kind}", reader.dtype).open() as other:
                assert other.dtype.alignment == dtype.alignment and other.sequence == 0
            del writer


def test_what_is_different_about_a_type_is_said(name):
    fields = [("x", "<f4"), ("y", "<f4")]
    with Channel(name, np.dtype(fields, align=True), units={"x": "m"}).create():
        for other, what in (
            (Channel(name, np.dtype(fields, align=True)), 'found field "x f32 0 m .*expected "x f32 0 - '),
            (Channel(name, np.dtype(fields), units={"x": "m"}), "found an alignment of 4, expected 1"),
            (Channel(name, np.dtype(fields[:1], align=True), units={"x": "m"}), 'found field "y .*expected no more'),
            (Channel(name, np.dtype(fields, align=True), type_name="other"), "found type .*, expected other"),
        ):
            with pytest.raises(WrongType, match=what):
                other.open()
