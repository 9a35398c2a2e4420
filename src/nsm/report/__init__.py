"""Reports: numbers and pictures in one HTML file that needs nothing else."""

from nsm.report.comparison import Comparison, Side, comparison_report
from nsm.report.regimes import Asked, Regime, Regimes, regimes_picture, regimes_report
from nsm.report.rotation import Turned, rotations
from nsm.report.run import REPORT_FILE, RunRecord, run_report, write_run_report
from nsm.report.words import summary

__all__ = [
    "REPORT_FILE",
    "Asked",
    "Comparison",
    "Regime",
    "Regimes",
    "RunRecord",
    "Side",
    "Turned",
    "comparison_report",
    "regimes_picture",
    "regimes_report",
    "rotations",
    "run_report",
    "summary",
    "write_run_report",
]
