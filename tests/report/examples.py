"""Made-up runs: no network is trained for a report."""

import torch

from nsm import evaluate
from nsm.data import ImageSet
from nsm.models import build
from nsm.report import RunRecord
from nsm.training import Config, EpochMetrics

DIGITS = tuple("0123456789")


def images(n=40, classes=DIGITS, name="digits", seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(n) % len(classes), classes, name)


def scores(shown, samples=5, model="nsm"):
    torch.manual_seed(0)
    return evaluate(build("digits-mlp", model=model), shown, samples=samples, seed=0)


def epochs(count=3, validated=True):
    return [
        EpochMetrics(i, 10 * i, 1.0 / i, 50.0 / i, 60.0 / i if validated else None, 0.5, 1e-3, 1.0)
        for i in range(1, count + 1)
    ]


def record(name="a run", origin=(("commit", "abc"),), **parts):
    recipe = Config.from_dict({"network": {"name": "digits-mlp"}, "data": {"set": "digits"}})
    shown = parts.pop("images", images())
    evaluation = parts.pop("evaluation", None) or scores(shown)
    return RunRecord(name, recipe, parts.pop("epochs", epochs()), evaluation, shown, origin)
