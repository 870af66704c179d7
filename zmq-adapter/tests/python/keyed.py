"""A viewer in Python that comes with a key, or without one.

Usage: keyed.py HOST BASE_PORT BROKER_KEY OWN_KEY_SECRET|-. Prints the topic of each broadcast; each line that comes in is
an action to ask for. Ends when its input does.
"""

import json
import sys
import time

import zmq
import zmq.auth

host, base, broker_key, own_key = sys.argv[1:]
context = zmq.Context()


def connect(kind, port):
    socket = context.socket(kind)
    socket.linger = 0
    if own_key != "-":
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(own_key)
        socket.curve_serverkey, _ = zmq.auth.load_certificate(broker_key)
    socket.connect(f"tcp://{host}:{int(base) + port}")
    return socket


broadcasts = connect(zmq.SUB, 0)
broadcasts.subscribe(b"state")
actions = connect(zmq.PUB, 1)
poller = zmq.Poller()
poller.register(broadcasts, zmq.POLLIN)
poller.register(sys.stdin.fileno(), zmq.POLLIN)
print("ready", flush=True)
while True:
    ready = dict(poller.poll())
    if broadcasts in ready:
        print(broadcasts.recv_multipart()[0].decode(), flush=True)
    if sys.stdin.fileno() in ready:
        action = sys.stdin.readline().strip()
        if not action:
            break
        message = {"action": action, "params": {}, "timestamp": time.time()}
        actions.send_multipart([b"action", json.dumps(message).encode()])
