"""Simulated gestures: an articulated body before a simulated event camera; nobody was recorded."""

from nsm.data.simulated.gestures.files import FOLDER, Trial, small_trials, trials, write_gestures
from nsm.data.simulated.gestures.people import LIGHTINGS, USERS
from nsm.data.simulated.gestures.recording import Simulated, simulate_gestures

__all__ = [
    "FOLDER",
    "LIGHTINGS",
    "USERS",
    "Simulated",
    "Trial",
    "simulate_gestures",
    "small_trials",
    "trials",
    "write_gestures",
]
