"""Communication between the parts of a lane keeping assist system: `shared_memory` and `zmq`."""
