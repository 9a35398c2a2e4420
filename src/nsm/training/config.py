"""The whole description of a training run, frozen and checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, get_type_hints

from nsm import models, random
from nsm.models import Model
from nsm.noise import NoiseLaw
from nsm.training.fields import Scalar, Section, checked

OptimizerName = Literal["adam", "adamw", "sgd", "muon"]
ScheduleName = Literal["one-cycle", "step", "constant-linear", "constant", "cosine"]
LossName = Literal["average", "sample"]
Margin = Literal["black", "mirrored"]
Precision = Literal["32-true", "bf16-mixed"]

# These schedules move beta1 themselves.
MOMENTUM_SCHEDULES: tuple[ScheduleName, ...] = ("one-cycle", "constant-linear")
_DEFAULT_BETAS = (0.9, 0.999)


def override_types() -> dict[str, Any]:
    """Types of the keywords of :func:`nsm.models.build` that ``network.overrides`` may set."""
    hints = get_type_hints(models.build)
    keywords = inspect.signature(models.build).parameters
    return {name: hints[name] for name in keywords if name not in ("name", "model", "noise")}


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Section):
    """Which network is trained.

    Attributes:
        name: architecture, one of :data:`nsm.models.ARCHITECTURES`.
        model: kind of neuron, see :func:`nsm.models.build`.
        noise: law of the synapses' noise; None for the architecture's own. A description such as
            ``{"law": "bernoulli", "p": 0.5}`` or ``"bernoulli:0.5"`` is read as the law.
        overrides: further keywords of :func:`nsm.models.build`.
    """

    section: ClassVar[str] = "network"
    name: str
    model: Model = "nsm"
    noise: NoiseLaw | None = None
    overrides: Mapping[str, Scalar] = field(default_factory=dict, hash=False)

    def _check(self) -> None:
        self.require(self.name in models.ARCHITECTURES, "name", f"one of {', '.join(models.ARCHITECTURES)}")
        known = override_types()
        values = {}
        for key, value in self.overrides.items():
            if key not in known:
                raise ValueError(f"network.overrides.{key} is unknown; valid fields: {', '.join(known)}")
            values[key] = checked(f"network.overrides.{key}", value, known[key])
        object.__setattr__(self, "overrides", MappingProxyType(values))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.to_dict(),)  # a mapping proxy can be neither copied nor sent


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """Which images it learns.

    Attributes:
        set: name of a data set, see :func:`nsm.data.load`.
        validation: images held out of the training set; None for the set's own default, 0 for none.
        fold: ``[k, n]`` to hold out the k-th of n equal parts instead, counted from 0; None for no such part.
        unrecorded: leave out the MNIST images whose N-MNIST recordings are in the data folder (sets
            ``"mnist"`` and ``"nmnist-simulated"`` alone).
        simulated: how many recordings are simulated for training, of the first images, and as many of the
            test images in proportion (``"nmnist-simulated"`` alone); None for all.
        images: how many of the training images that are not held out are learnt, a fixed choice; None for
            all.
        repair: repair broken recordings of events, see :mod:`nsm.data.events`, instead of refusing them (sets
            of such recordings alone).
    """

    section: ClassVar[str] = "data"
    set: str
    validation: int | None = None
    fold: tuple[int, int] | None = None
    unrecorded: bool = False
    simulated: int | None = None
    images: int | None = None
    repair: bool = False

    def _check(self) -> None:
        self.require(self.validation is None or self.validation >= 0, "validation", "at least 0 or none")
        for name in ("simulated", "images"):
            value = getattr(self, name)
            self.require(value is None or value >= 1, name, "at least 1 or none")
        if self.fold is not None:
            self.require(0 <= self.fold[0] < self.fold[1] >= 2, "fold", "[k, n] with n >= 2 and 0 <= k < n")
            self.require(self.validation is None, "validation", "none where a fold is held out")


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Section):
    """Random changes of each training image, drawn anew for every epoch; areas that open are 0 but where the
    margin is mirrored.

    Frames of a recording are moved and mirrored as its events would be: ``crop`` and ``flip`` are the shift
    and the reflection of :class:`nsm.data.events.EventAugmentation`, in pixels of the frames. What changes
    single events is done to the recordings themselves, in ``copies`` that are kept with the data.

    Attributes:
        shift: largest translation along each axis, in pixels, >= 0.
        rotation: largest rotation about the centre, in degrees, in [0, 180].
        scale: largest relative change of size, in [0, 1).
        crop: pixels around an image with which a window of its size is cut from it, >= 0: a shift by whole
            pixels. Smaller than the image where they mirror it.
        margin: what these pixels show, ``"black"`` or what lies as far inside of the edge (``"mirrored"``).
        flip: mirror every image from left to right in every second epoch, half of them in the first.
        cutout: side of a square, in pixels, that is left out of every image, at a place inside that is drawn
            anew for every epoch, and shows the image's mean colour; 0 for none, smaller than the image.
        drop: probability with which an event of a recording is lost, in [0, 1).
        jitter: standard deviation of what is added to each event's time, in microseconds, >= 0.
        copies: versions of each recording whose events are lost or jittered, >= 1; an epoch shows one of
            each, and ``copies`` epochs every one once. Their events are the same in all runs.
        early: share of the recordings, drawn anew for every epoch, of which only the beginning is shown, in
            [0, 1]: the first 1 to C - 1 of C bins of time, every number as often as any other. A stream that
            has just begun looks like that.
        until: share of the epochs, the first ones, in which images are changed, in (0, 1]; the others show
            them as they are, as the network will meet them.
    """

    section: ClassVar[str] = "augmentation"
    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    crop: int = 0
    margin: Margin = "black"
    flip: bool = False
    cutout: int = 0
    drop: float = 0.0
    jitter: float = 0.0
    copies: int = 4
    early: float = 0.0
    until: float = 1.0

    def _check(self) -> None:
        self.require(self.shift >= 0.0, "shift", "at least 0 (pixels)")
        self.require(0.0 <= self.rotation <= 180.0, "rotation", "in [0, 180] (degrees)")
        self.require(0.0 <= self.scale < 1.0, "scale", "in [0, 1)")
        self.require(self.crop >= 0, "crop", "at least 0 (pixels)")
        self.require(self.cutout >= 0, "cutout", "at least 0 (pixels)")
        self.require(0.0 <= self.drop < 1.0, "drop", "in [0, 1)")
        self.require(self.jitter >= 0.0, "jitter", "at least 0 (us)")
        self.require(self.copies >= 1, "copies", "at least 1")
        self.require(0.0 <= self.early <= 1.0, "early", "in [0, 1]")
        self.require(0.0 < self.until <= 1.0, "until", "in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """How it learns.

    Attributes:
        epochs: passes over the training images, >= 1.
        batch_size: images of one step over all processes together, >= 1; the last step of an epoch takes
            what is left.
        seed: of weights, order, noise and augmentation, in [0, 2^63).
        start: folder of a run whose weights, gains and biases this one starts with, or of its trained twin's,
            whose preactivations its neurons then follow (:func:`nsm.models.follow`); None for fresh ones.
        optimizer: ``"adam"`` (weight decay added to the gradient), ``"adamw"`` (decoupled), ``"sgd"``, or
            ``"muon"``: adamw, but every weight matrix before the classifier's moves by its orthogonalized
            momentum and keeps its size, see :class:`nsm.training.muon.Muon`.
        lr: learning rate that the schedule scales, > 0.
        betas: decay of the gradient's first and second moment, each in [0, 1); the first is the momentum of
            ``"sgd"`` and of the matrices of ``"muon"``. The schedules ``"one-cycle"`` and
            ``"constant-linear"`` set the first themselves.
        eps: added to the root of the second moment, > 0.
        weight_decay: of weights only, not of biases, gains or normalizations; >= 0.
        spread: standard deviation over 500 training images that every fresh neuron's s starts with, see
            :func:`nsm.nn.calibrate`, > 0; None to start where a = 0.
        means: share of the steps, the first ones, in which layers hand on E[z'] instead of samples, in
            [0, 1): for deep networks, through which a sample of fresh weights carries nothing.
        marginals: share of the steps, the first ones but for those of ``means``, in which layers hand on what
            their samples average to (fidelity ``"marginal"``), in [0, 1]: what is learnt is the average of
            many samples, without their noise, at twice the products.
        gain_lr: learning rate of the gains beta relative to ``lr``, >= 0.
        schedule: course of the learning rate, see :mod:`nsm.training.schedule`.
        step_epochs: epochs after which ``"step"`` halves the learning rate, >= 1.
        warmup: share of the steps in which ``"cosine"`` rises from 0, in [0, 1).
        draws: samples K of each image in one step, >= 1.
        loss: cross-entropy of the softmax averaged over the K samples (``"average"``), or mean of the K
            cross-entropies (``"sample"``); the same for K = 1.
        label_smoothing: share of the target that is spread evenly over the classes, in [0, 1).
        averaging: decay d of the exponential moving average of the weights that is validated and saved, in
            (0, 1); its span 1 / (1 - d) is at most a tenth of the run's steps. None for the weights of the
            last step.
        clip: largest Euclidean norm of the whole gradient, > 0; None for no limit.
        precision: ``"32-true"`` or ``"bf16-mixed"`` (bfloat16 products, float32 weights).
        patience: epochs without a smaller validation error after which the run stops, >= 1; None for never.
        eval_samples: Monte Carlo samples of each image in the validation after every epoch, >= 1.
        checkpoint_minutes: time between checkpoints, > 0; None for no clock.
        checkpoint_steps: steps between checkpoints, >= 1; None for no count. A run that ends or is
            interrupted writes a checkpoint in any case.
    """

    section: ClassVar[str] = "training"
    epochs: int = 12
    batch_size: int = 100
    seed: int = 0
    start: str | None = None
    optimizer: OptimizerName = "adam"
    lr: float = 2e-3
    betas: tuple[float, float] = _DEFAULT_BETAS
    eps: float = 1e-8
    weight_decay: float = 0.0
    spread: float | None = None
    means: float = 0.0
    marginals: float = 0.0
    gain_lr: float = 1.0
    schedule: ScheduleName = "one-cycle"
    step_epochs: int = 50
    warmup: float = 0.0
    draws: int = 1
    loss: LossName = "average"
    label_smoothing: float = 0.0
    averaging: float | None = None
    clip: float | None = None
    precision: Precision = "32-true"
    patience: int | None = None
    eval_samples: int = 10
    checkpoint_minutes: float | None = 5.0
    checkpoint_steps: int | None = None

    def _check(self) -> None:
        for name in ("epochs", "batch_size", "step_epochs", "draws", "eval_samples"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("patience", "checkpoint_steps"):
            value = getattr(self, name)
            self.require(value is None or value >= 1, name, "at least 1 or none")
        for name in ("spread", "clip", "checkpoint_minutes"):
            value = getattr(self, name)
            self.require(value is None or value > 0.0, name, "positive or none")
        for name in ("lr", "eps"):
            self.require(getattr(self, name) > 0.0, name, "positive")
        for name in ("weight_decay", "gain_lr"):
            self.require(getattr(self, name) >= 0.0, name, "at least 0")
        for name in ("means", "warmup", "label_smoothing"):
            self.require(0.0 <= getattr(self, name) < 1.0, name, "in [0, 1)")
        self.require(0.0 <= self.marginals <= 1.0, "marginals", "in [0, 1]")
        self.require(0 <= self.seed <= random.MAX_SEED, "seed", "in [0, 2^63)")
        self.require(all(0.0 <= beta < 1.0 for beta in self.betas), "betas", "two numbers in [0, 1)")
        self.require(self.averaging is None or 0.0 < self.averaging < 1.0, "averaging", "in (0, 1) or none")
        self.require(
            self.schedule == "cosine" or self.warmup == 0.0, "warmup", "0 unless the schedule is cosine"
        )
        self.require(
            self.schedule not in MOMENTUM_SCHEDULES or self.betas[0] == _DEFAULT_BETAS[0],
            "betas",
            f"left at {_DEFAULT_BETAS[0]} in its first place, which the schedule {self.schedule} sets itself",
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training run: network, data, augmentation, training.

    Two equal configurations give the same weights, bit for bit, on the same machine.

    Attributes:
        network: which network.
        data: which images.
        augmentation: random changes of the images.
        training: how it learns.
    """

    network: NetworkConfig
    data: DataConfig
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name, kind in SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r:.80}")
        if self.training.patience is not None and self.data.validation == 0:
            raise ValueError("training.patience needs validation images, but data.validation is 0")
        _, height, width = models.ARCHITECTURES[self.network.name].image
        if self.augmentation.margin == "mirrored" and self.augmentation.crop >= min(height, width):
            raise ValueError(
                f"augmentation.crop must be smaller than the {height}x{width} images where the margin is "
                f"mirrored, got {self.augmentation.crop}"
            )
        if self.augmentation.cutout >= min(height, width):
            raise ValueError(
                f"augmentation.cutout must be smaller than the {height}x{width} images, "
                f"got {self.augmentation.cutout}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description by section and field."""
        return {name: getattr(self, name).to_dict() for name in SECTIONS}

    @classmethod
    def from_dict(cls, description: object) -> Self:
        """The configuration that :meth:`to_dict` described; absent fields take their default.

        Raises:
            ValueError: naming the field, its value and the valid choices.

        >>> config = Config.from_dict({"network": {"name": "digits-mlp"}, "data": {"set": "digits"}})
        >>> config == Config.from_dict(config.to_dict())
        True
        """
        if not isinstance(description, Mapping):
            raise ValueError(f"a configuration must be a table of sections, got {description!r:.80}")
        for name in description:
            if name not in SECTIONS:
                raise ValueError(f"{name} is no section; valid sections: {', '.join(SECTIONS)}")
        return cls(
            network=NetworkConfig.from_dict(description.get("network", {})),
            data=DataConfig.from_dict(description.get("data", {})),
            augmentation=AugmentationConfig.from_dict(description.get("augmentation", {})),
            training=TrainingConfig.from_dict(description.get("training", {})),
        )


SECTIONS: dict[str, type[Section]] = {
    "network": NetworkConfig,
    "data": DataConfig,
    "augmentation": AugmentationConfig,
    "training": TrainingConfig,
}


def differences(written: Config, asked: Config) -> list[str]:
    """What makes the configuration that was ``written`` in a file another than the one ``asked`` for, in
    words.
    """
    before, now = written.to_dict(), asked.to_dict()
    return [
        f"{section}.{name} is {before[section][name]!r} in the file and {value!r} here"
        for section, values in now.items()
        for name, value in values.items()
        if before[section][name] != value
    ]
