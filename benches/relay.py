"""What passing on costs: this broker beside a plain one of pyzmq, in one run.

Usage: relay.py PATH_OF_LKAS [SECONDS]

Both get the same: a vehicle's status 100 times a second, passed on to 0, 1, 4 and 16 viewers, and actions from a viewer to the
vehicle. They take turns. Latency is from one program's send to another one's receive; the processor's time is what the kernel
counts for the broker. Both ends are Python and cost the same for either, so ratios say less than the broker alone would.
"""

import json
import os
import socket as sockets
import statistics
import subprocess
import sys
import time

import zmq

RATE_HZ = 100
ROUNDS = 3


def plain(base):
    """A broker that passes on what comes, looks at nothing, and sleeps meanwhile. As nice to others as the other one."""
    os.nice(5)
    context = zmq.Context()
    ends = {port: context.socket(zmq.SUB if port in (1, 2, 5) else zmq.PUB) for port in range(6)}
    for port, end in ends.items():
        if end.type == zmq.SUB:
            end.setsockopt(zmq.SUBSCRIBE, b"")
        end.bind(f"tcp://127.0.0.1:{base + port}")
    poller = zmq.Poller()
    ways = {ends[1]: (ends[4], None), ends[2]: (ends[3], None), ends[5]: (ends[0], b"state")}
    for way in ways:
        poller.register(way, zmq.POLLIN)
    while True:
        for way, _ in poller.poll():
            to, topic = ways[way]
            first, body = way.recv_multipart()
            json.loads(body)
            to.send_multipart([topic or first, body])


def free_ports():
    while True:
        with sockets.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base = probe.getsockname()[1]
        if base < 65_000:
            return base


def processor_s(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Broker:
    def __init__(self, name, command, base):
        self.name, self.base = name, base
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.context = zmq.Context()

    def connect(self, kind, port, topic=b""):
        end = self.context.socket(kind)
        end.setsockopt(zmq.LINGER, 0)
        if kind == zmq.SUB:
            end.setsockopt(zmq.SUBSCRIBE, topic)
        end.connect(f"tcp://127.0.0.1:{self.base + port}")
        return end

    def until_connected(self, send, receiver):
        deadline = time.monotonic() + 30
        while not receiver.poll(50):
            assert time.monotonic() < deadline, f"{self.name} passes nothing on"
            send()

    def states(self, viewers, seconds):
        """Latencies in microseconds at one of the viewers, and the processor's time in percent."""
        vehicle = self.connect(zmq.PUB, 5)
        ends = [self.connect(zmq.SUB, 0, b"state") for _ in range(viewers)]

        def send():
            state = {"steering": 0.0, "throttle": 0.1, "brake": 0.0, "speed_kmh": 50.0, "position": [time.monotonic(), 0, 0]}
            vehicle.send_multipart([b"vehicle_status", json.dumps(state).encode()])

        if ends:
            self.until_connected(send, ends[-1])
        else:
            time.sleep(0.5)
        latencies, start, before = [], time.monotonic(), processor_s(self.child.pid)
        due = start
        while due < start + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1 / RATE_HZ
            for end in ends:
                while end.poll(0):
                    end.recv_multipart()
            send()
            if ends and ends[0].poll(1000):
                _, body = ends[0].recv_multipart()
                latencies.append(1e6 * (time.monotonic() - json.loads(body)["position"][0]))
        share = 100 * (processor_s(self.child.pid) - before) / (time.monotonic() - start)
        for end in [vehicle, *ends]:
            end.close()
        # The next one is another vehicle, which counts once this one is silent.
        time.sleep(1.1)
        return latencies, share

    def actions(self, seconds):
        viewer, vehicle = self.connect(zmq.PUB, 1), self.connect(zmq.SUB, 4, b"action")

        def send():
            action = {"action": "resume", "params": {}, "timestamp": time.time()}
            viewer.send_multipart([b"action", json.dumps(action).encode()])

        self.until_connected(send, vehicle)
        time.sleep(0.2)
        while vehicle.poll(0):
            vehicle.recv_multipart()
        latencies, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            sent = time.monotonic()
            send()
            if vehicle.poll(1000):
                vehicle.recv_multipart()
                latencies.append(1e6 * (time.monotonic() - sent))
            time.sleep(1 / RATE_HZ)
        viewer.close()
        vehicle.close()
        return latencies

    def close(self):
        self.child.terminate()
        self.child.wait()
        self.context.term()


def main():
    program, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    bases = [free_ports(), free_ports()]
    brokers = [
        Broker("plain pyzmq", [sys.executable, __file__, "--plain", str(bases[0])], bases[0]),
        Broker("lkas", [program, "broker", "--namespace", f"bench-{os.getpid()}", "--broker-port", str(bases[1])], bases[1]),
    ]
    try:
        print(f"{'':<24} {'plain pyzmq':>14} {'lkas':>14} {'ratio':>7}   median of {ROUNDS} rounds, {os.cpu_count()} processors")

        def row(what, unit, rounds):
            """`rounds`: a pair of figures for each."""
            first, second = (statistics.median(column) for column in zip(*rounds))
            ratio = statistics.median(second / first if first else float("nan") for first, second in rounds)
            print(f"{what:<24} {first:>11.1f} {unit:<2} {second:>11.1f} {unit:<2} {ratio:>6.2f}x", flush=True)

        row("action, p50", "µs", [[statistics.median(b.actions(seconds)) for b in brokers] for _ in range(ROUNDS)])
        for viewers in (0, 1, 4, 16):
            rounds = [[broker.states(viewers, seconds) for broker in brokers] for _ in range(ROUNDS)]
            if viewers:
                medians = [[statistics.median(latencies) for latencies, _ in found] for found in rounds]
                row(f"state to {viewers}, p50", "µs", medians)
            row(f"processor, {viewers} viewers", "%", [[share for _, share in found] for found in rounds])
    finally:
        for broker in brokers:
            broker.close()


if sys.argv[1] == "--plain":
    plain(int(sys.argv[2]))
else:
    main()
