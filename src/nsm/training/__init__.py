"""Training: frozen configurations, a loop that can be stopped at any moment, and what it leaves on disk."""

from nsm.training.config import AugmentationConfig, Config, DataConfig, NetworkConfig, TrainingConfig
from nsm.training.errors import CheckpointError, NotFiniteError, RunFolderError, TrainingInterrupted
from nsm.training.folder import read_recipe
from nsm.training.fresh import fresh_network
from nsm.training.loop import Result, Watch, train
from nsm.training.metrics import METRICS_FILE, EpochMetrics, read_metrics
from nsm.training.recipes import load_recipe, recipe_names, with_overrides
from nsm.training.splits import load_splits

__all__ = [
    "METRICS_FILE",
    "AugmentationConfig",
    "CheckpointError",
    "Config",
    "DataConfig",
    "EpochMetrics",
    "NetworkConfig",
    "NotFiniteError",
    "Result",
    "RunFolderError",
    "TrainingConfig",
    "TrainingInterrupted",
    "Watch",
    "fresh_network",
    "load_recipe",
    "load_splits",
    "read_metrics",
    "read_recipe",
    "recipe_names",
    "train",
    "with_overrides",
]
