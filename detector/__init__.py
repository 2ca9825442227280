"""Detector watches backend metrics as they stream by over NATS."""

__version__ = "0.1.0"
