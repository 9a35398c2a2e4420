"""Building networks by name and describing them in a few JSON-able words."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

from nsm import noise as laws
from nsm.models.blocks import MODELS, Model
from nsm.models.networks import ARCHITECTURES, POOLINGS, Pooling, assemble
from nsm.nn.layer import check_population
from nsm.noise import NoiseLaw


class Network(nn.Sequential):
    """A published network: a chain of modules that remembers how to build itself again.

    Attributes:
        config: JSON-able arguments of :func:`from_config`.
        image: (channels, height, width) of one input; values in [0, 1].
    """

    def __init__(self, modules: nn.Sequential, config: dict[str, Any], image: tuple[int, int, int]) -> None:
        super().__init__(*modules)
        self.config, self.image = config, image

    def __getitem__(self, idx: slice | int) -> Any:
        """Module number ``idx``; of a slice a plain ``nn.Sequential``: a part is no published network."""
        whole = nn.Sequential(OrderedDict(self.named_children()))
        return whole[idx]


def build(
    name: str,
    *,
    model: Model = "nsm",
    noise: NoiseLaw | None = None,
    binarize: bool = False,
    pooling: Pooling | None = None,
    dropout: float | None = None,
    centered: bool = False,
    population: int | None = None,
    standardized: bool | None = None,
) -> Network:
    """A network of the published shape with fresh weights (from torch's default generator).

    ``"mnist-mlp"`` is 784-300-300-300-10, ``"mnist-cnn"`` is 32c5-p2-64c5-p2-512-10, ``"nmnist-cnn"`` the
    same with 150 hidden neurons on 10 time bins of 34x34 pixels, ``"cifar10-allconv"`` and
    ``"cifar100-allconv"`` are 3x96c3-p2-3x192c3-p2-192c3-2x192c1-avg8 behind a conventional 96c3 and
    ``"dvsgesture-allconv"`` is 3x64c3-p2-3x96c3-p2-3x128c3-p2-256c3-2x256c1-avg8-11 on 6 time bins of 64x64
    pixels [N19]; ``"digits-mlp"`` is 64-256-128-10. Not published are ``"cifar10-allconv-third"``, a third as
    wide, and ``"cifar10-residual"``, 64c3-64r3-256c3-p2-256r3-256c3-p2-256r3-avg3-10 behind a conventional
    64c3-p2 on whitened patches (:class:`nsm.models.Whitening`), both rectified, r for residual layers
    (:class:`nsm.nn.Residual`; in other kinds of model activations are added to what the layer receives). Both
    networks have populations of eight neurons in each place and standardized layers. Every kind of model has
    the same widths.

    The networks for CIFAR normalize the image, the outputs of real first layers and the classifier's input
    by batch, as published; ``.train()`` and ``.eval()`` matter to these layers. The network for gestures
    normalizes the classifier's input too, which was not published.

    Args:
        name: one of the names above.
        model: ``"nsm"``, its conventional ``"twin"`` (rectifiers; ``"twin-bn"`` with batch normalization,
            ``"twin-wn"`` with weight normalization, ``"twin-dropout"`` with dropout,
            ``"twin-bn-dropout"`` with batch normalization and dropout), or a kind of the
            published comparison: ``"ste"`` (NSM with straight-through gradients), ``"bd"`` (deterministic
            sign, straight-through), ``"wbd"`` (bd with weight normalization), ``"sn"`` (noisy rectifier),
            ``"bn"`` (deterministic sign, gradient of erf), ``"stnn"`` (NSM without self-normalization: the
            noise is added to u, with the variance that the synapses' has at fresh weights, and does not
            follow the weights).
        noise: law of the synapses' noise for ``"nsm"``, ``"ste"`` and ``"stnn"``; None for the
            architecture's own, Bernoulli(0.5).
        binarize: turn inputs into sgn(2 x - 1) first, as in the released protocol.
        pooling: of the activations behind each convolution that is pooled: their ``"max"``, as released, one
            neuron of every population at a time; their ``"average"``, which keeps more of what four samples
            say and passes their exact gradient; or the ``"largest"`` of the four populations' averages, as
            rectifiers are pooled. None for the architecture's own, the maximum except in
            ``"cifar10-residual"``.
        dropout: rate of the twins with dropout; None for the architecture's own.
        centered: whether the weights of every neuron sum to zero, see :func:`nsm.nn.centered`; not those of a
            real first layer and of the classifier.
        population: neurons of a stochastic kind in each place, from 1 to 255, see
            :class:`nsm.nn.StochasticLayer`; None for the architecture's own. Other kinds have one.
        standardized: whether neurons of a stochastic kind count their gains and biases from the statistics of
            a batch; None for the architecture's own.

    Returns:
        A module from float (B, channels, height, width) in [0, 1] to logits (B, classes).

    Raises:
        ValueError: for an unknown name, model or pooling, a dropout rate outside [0, 1), or an option of the
            wrong type.

    >>> build("digits-mlp").image
    (1, 8, 8)
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"name must be one of {', '.join(ARCHITECTURES)}, got {name!r}")
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    if noise is not None and not isinstance(noise, NoiseLaw):
        raise ValueError(f"noise must be a noise law such as nsm.Bernoulli(0.5), got {noise!r:.80}")
    shape = ARCHITECTURES[name]
    pooling = shape.pooling if pooling is None else pooling
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    standardized = shape.standardized if standardized is None else standardized
    for option, value in (("binarize", binarize), ("centered", centered), ("standardized", standardized)):
        if not isinstance(value, bool):
            raise ValueError(f"{option} must be True or False, got {value!r}")
    noise = shape.noise if noise is None else noise
    dropout = shape.dropout if dropout is None else dropout
    if not (isinstance(dropout, int | float) and 0.0 <= dropout < 1.0):  # type: ignore[redundant-expr]
        raise ValueError(f"dropout must be in [0, 1), got {dropout!r}")
    population = shape.population if population is None else population
    check_population(population)
    config = {
        "name": name,
        "model": model,
        "noise": noise.to_dict(),
        "binarize": binarize,
        "pooling": pooling,
        "dropout": dropout,
        "centered": centered,
        "population": population,
        "standardized": standardized,
    }
    modules = assemble(
        shape,
        model,
        noise,
        binarize=binarize,
        pooling=pooling,
        dropout=dropout,
        centered=centered,
        population=population,
        standardized=standardized,
    )
    return Network(modules, config, shape.image)


def from_config(config: object) -> Network:
    """The network that ``Network.config`` describes, with fresh weights.

    Raises:
        ValueError: naming a key that is missing, unknown or has an impossible value.
    """
    expected = {
        "name",
        "model",
        "noise",
        "binarize",
        "pooling",
        "dropout",
        "centered",
        "population",
        "standardized",
    }
    if not isinstance(config, dict):
        raise ValueError(f"a network's config must be an object, got {config!r:.200}")
    if missing := sorted(expected - set(config)):
        raise ValueError(f"a network's config must have the key {missing[0]}, has {sorted(config)!s:.200}")
    if unknown := sorted(set(config) - expected, key=str):
        raise ValueError(f"a network's config has the keys {sorted(expected)}, got {unknown[0]!r:.80}")
    kinds: dict[str, type | tuple[type, ...]] = {
        "name": str,
        "model": str,
        "binarize": bool,
        "pooling": str,
        "dropout": (int, float),
        "centered": bool,
        "population": int,
        "standardized": bool,
    }
    for key, kind in kinds.items():
        if not isinstance(config[key], kind):
            raise ValueError(f"{key} has the wrong type in the network's config: {config[key]!r:.80}")
    return build(
        config["name"],
        model=config["model"],
        noise=laws.from_dict(config["noise"]),
        binarize=config["binarize"],
        pooling=config["pooling"],
        dropout=config["dropout"],
        centered=config["centered"],
        population=config["population"],
        standardized=config["standardized"],
    )
