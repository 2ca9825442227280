"""The upstream half: aggregate, sample, obey. Light to import."""

from detector.collector.library import Collector

__all__ = ["Collector"]
