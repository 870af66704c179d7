"""Broker and parameter client over ZeroMQ. They are those of `lkas_channels.compat`."""

from lkas_channels.compat.zmq import LKASBroker, ParameterClient

__all__ = ["LKASBroker", "ParameterClient"]
