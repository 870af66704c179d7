"""Joins the mirrors with nothing but Zenoh for Python: reads frames and detections, and publishes a control.

    python join.py ENDPOINT CAMERA DETECTIONS CONTROLS

The controls go to a channel of their own, so that they move nothing: 20 a second, until a mirror has asked for 100.
"""

import struct
import sys
import threading
import time
import zlib
from collections import deque

import xxhash
import zenoh

ENDPOINT, CAMERA, DETECTIONS, CONTROLS = sys.argv[1:]
PREFIX = "lkas/mirror/1/lkas"
ATTACHMENT = struct.Struct("<4sIQQQQQQ")
REQUEST = struct.Struct("<QQQ")


def fnv(*texts: bytes) -> int:
    """The fingerprint of a type: FNV-1a over name, semantics and fields, each after its length."""
    value = 0xCBF29CE484222325
    for text in texts:
        for byte in len(text).to_bytes(8, "little") + text:
            value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


def check(attachment: bytes, payload: bytes) -> int:
    return xxhash.xxh3_64_intdigest(payload, xxhash.xxh3_64_intdigest(attachment[:48]))


def exporter(session: zenoh.Session, channel: str) -> str:
    """The first exporter of a channel; waits until there is one."""
    for _ in range(100):
        for reply in session.liveliness().get(f"{PREFIX}/{channel}/*"):
            if reply.ok:
                return str(reply.ok.key_expr)
        time.sleep(0.1)
    sys.exit(f"nobody exports {channel}")


def ask(session: zenoh.Session, key: str, payload: bytes | None = None) -> zenoh.Sample:
    for _ in range(20):
        for reply in session.get(key, payload=payload, timeout=5.0):
            if reply.ok:
                return reply.ok
        time.sleep(0.1)
    sys.exit(f"no answer from {key}")


class Value:
    """One value, checked as a mirror checks it."""

    def __init__(self, sample: zenoh.Sample, page: bytes) -> None:
        self.payload, attachment = sample.payload.to_bytes(), sample.attachment.to_bytes()
        fields = ATTACHMENT.unpack(attachment)
        magic, self.encoding, description, self.incarnation, self.sequence, self.published, length, value = fields
        assert magic == b"LKM1", magic
        assert length == len(self.payload), (length, len(self.payload))
        assert value == check(attachment, self.payload), "the check value does not fit"
        assert description == xxhash.xxh3_64_intdigest(page), "another description"


def read(session: zenoh.Session, channel: str, count: int) -> list[Value]:
    """The next values of a channel, each younger than the one before."""
    key = exporter(session, channel)
    page = ask(session, f"{key}/description").payload.to_bytes()
    assert len(page) == 4096 and page[:8] == b"LKASCHAN", page[:8]
    values: list[Value] = []
    place = (0, 0)
    while len(values) < count:
        request = REQUEST.pack(*place, not values)
        value = Value(ask(session, f"{key}/value/{session.zid()}", request), page)
        assert (value.incarnation, value.sequence) > place
        place = (value.incarnation, value.sequence)
        values.append(value)
    return values


def control_page() -> bytes:
    """The description of a channel of controls: the first page of its segment."""
    numbers = [("frame_id", "u64", 0, "-", "-"), ("timestamp", "f64", 8, "s", "-"), ("steering", "f32", 16, "-", "-")]
    numbers += [("throttle", "f32", 20, "-", "-"), ("brake", "f32", 24, "-", "-")]
    lines = [f"{name} {kind} {offset} {unit} {present} -" for name, kind, offset, unit, present in numbers]
    lines += ["mode u32 28 - - 0=emergency_stop,1=manual,2=autopilot,3=lane_keeping", "present u32 32 - - -"]
    lines += ["departure u32 36 - - 1=centred,2=drift,3=departure", "lateral_offset f32 40 - 32:0 -"]
    lines += ["lateral_offset_m f32 44 m 32:1 -", "heading_angle_deg f32 48 deg 32:2 -", "lane_width_px f32 52 px 32:3 -"]
    lines += ["processing_time_ms f32 56 ms - -", "check u32 60 - - -"]
    name, fields = b"lkas.Control", "".join(line + "\n" for line in lines).encode()
    size, align, readers = 64, 8, 4
    # A segment: a page, mailboxes of 128 bytes in whole pages, then two slots more than readers, of 16 bytes and a value
    # each, in multiples of 128 bytes.
    payload_offset, stride, slots = 16, 128, 8192
    total = slots + -(-(readers + 2) * stride // 4096) * 4096
    page = struct.pack("<8sIIQQQQQQ", b"LKASCHAN", 2, readers, total, slots, size, align, payload_offset, stride)
    page += struct.pack("<Q4I", fnv(name, b"crc-32", fields), 0, 0, 0, 0)
    # 100 ms between two values, 250 ms until nobody should act on one, in microseconds.
    page += struct.pack("<IIQQQ", 0, 0, 100_000 | 250_000 << 32, 0, 0)
    return page.ljust(192, b"\0") + name.ljust(64, b"\0") + fields.ljust(4096 - 256, b"\0")


def control(frame_id: int, timestamp: float, steering: float) -> bytes:
    """A control in lane keeping."""
    body = struct.pack("<QdfffIIIfffff", frame_id, timestamp, steering, 0.1, 0.0, 3, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return body + zlib.crc32(body + bytes(4)).to_bytes(4, "little")


class Export:
    """An exported channel of controls."""

    def __init__(self, session: zenoh.Session, channel: str) -> None:
        self.page, self.newest, self.waiting = control_page(), None, deque()
        self.lock, self.sent, self.answered = threading.Lock(), 0, 0
        self.incarnation, self.sequence = time.monotonic_ns(), 0
        self.key = f"{PREFIX}/{channel}/{session.zid()}"
        answer = lambda payload: lambda query: query.reply(query.key_expr, payload())  # noqa: E731
        clock = lambda: struct.pack("<Q", time.monotonic_ns())  # noqa: E731
        self.declared = [
            session.declare_queryable(f"{self.key}/description", answer(lambda: self.page)),
            session.declare_queryable(f"{self.key}/clock", answer(clock)),
            session.declare_queryable(f"{self.key}/value/*", self.asked),
            session.liveliness().declare_token(self.key),
        ]

    def asked(self, query: zenoh.Query) -> None:
        with self.lock:
            incarnation, sequence, first = REQUEST.unpack(query.payload.to_bytes())
            if first:
                self.waiting.clear()
                self.sent = sequence if incarnation == self.incarnation else 0
            self.waiting.append(query)
        self.send()

    def publish(self, payload: bytes) -> None:
        with self.lock:
            self.sequence += 1
            numbers = (xxhash.xxh3_64_intdigest(self.page), self.incarnation, self.sequence, time.monotonic_ns())
            head = ATTACHMENT.pack(b"LKM1", 0, *numbers, len(payload), 0)
            self.newest = (payload, head[:48] + struct.pack("<Q", check(head, payload)))
        self.send()

    def send(self) -> None:
        with self.lock:
            if self.newest and self.waiting and self.sent < self.sequence:
                query, self.sent = self.waiting.popleft(), self.sequence
                query.reply(query.key_expr, self.newest[0], attachment=self.newest[1])
                query.drop()
                self.answered += 1


def main() -> None:
    config = zenoh.Config()
    for key, value in {
        "mode": '"client"',
        "connect/endpoints": f'["{ENDPOINT}"]',
        "scouting/multicast/enabled": "false",
    }.items():
        config.insert_json5(key, value)
    with zenoh.open(config) as session:
        for frame in read(session, CAMERA, 5):
            # Both an image as it is and one as JPEG begin with these two.
            frame_id, timestamp = struct.unpack("<Qd", frame.payload[:16])
            assert frame.encoding == 0 or frame.payload[16:18] == b"\xff\xd8", "no JPEG stream"
            assert frame_id > 0 and timestamp > 0
        print(f"frames: the last is {frame_id}, {len(frame.payload)} bytes")
        for detection in read(session, DETECTIONS, 5):
            assert len(detection.payload) == 72
            frame_id, timestamp, processing_ms, present = struct.unpack("<QdfI", detection.payload[:24])
            left = struct.unpack("<5f", detection.payload[24:44])
        print(f"detections: the last is of frame {frame_id}, in {processing_ms:.1f} ms; left {left if present & 1 else None}")
        export = Export(session, CONTROLS)
        for frame_id in range(1, 2000):
            export.publish(control(frame_id, time.monotonic(), 0.25))
            time.sleep(0.05)
            if export.answered >= 100:
                break
        assert export.answered >= 100, f"{export.answered} controls were asked for, expected 100"
        print(f"controls: {export.answered} were asked for")


if __name__ == "__main__":
    main()
