"""Simulated recordings of event cameras; nothing here was ever recorded."""

from nsm.data.simulated.saccades import NMNIST_LIKE, Saccades, simulate

__all__ = ["NMNIST_LIKE", "Saccades", "simulate"]
