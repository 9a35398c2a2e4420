"""A run that takes a second: the bundled digits, 12 steps an epoch."""

from typing import Any

from nsm.training import Config


def digits(*, model: str = "nsm", validation: int = 300, shift: float = 0.0, **training: Any) -> Config:
    return Config.from_dict(
        {
            "network": {"name": "digits-mlp", "model": model},
            "data": {"set": "digits", "validation": validation},
            "augmentation": {"shift": shift},
            "training": {"epochs": 2, "eval_samples": 4, "checkpoint_minutes": 60.0, **training},
        }
    )
