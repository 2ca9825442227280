"""River-compatible estimators for streams of metrics. They know no service, no I/O and no clock."""

from models.bank import KernelBank, ScoringBank, warm
from models.calibration import CAP, GRACE
from models.isolation_bank import IsolationBank
from models.kernel import FLOOR, N_TERMS, REASONS, SCORE, VIEWS
from models.novelty import Explanation, NoveltyDetector
from models.river_bank import RiverBank, river_detectors, river_forecasters
from models.river_drift import DriftWatch, river_drift_detectors

__all__ = [
    "CAP",
    "FLOOR",
    "GRACE",
    "N_TERMS",
    "REASONS",
    "SCORE",
    "VIEWS",
    "DriftWatch",
    "Explanation",
    "IsolationBank",
    "KernelBank",
    "NoveltyDetector",
    "RiverBank",
    "ScoringBank",
    "river_detectors",
    "river_drift_detectors",
    "river_forecasters",
    "warm",
]
