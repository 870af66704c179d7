"""The names of the original document of a lane keeping assist system, over `lkas_channels`."""
