"""Saving and loading a network: ``config.json`` beside ``model.safetensors``, no pickle."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nsm.files import write_atomically
from nsm.models.build import Network, from_config
from nsm.nn import stochastic_layers
from nsm.nn.changes import change_of

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_CONFIG_LIMIT = 16 * 2**20


class ModelFileError(ValueError):
    """A saved network that cannot be read: the message names the file and what is wrong with it."""


def save(net: Network, folder: str | Path) -> None:
    """Write ``config.json`` (key ``network``; other keys already there are kept) and ``model.safetensors``
    into ``folder``.

    Both are written to a temporary name and renamed, so that a reader never meets half a file.

    Raises:
        TypeError: if ``net`` is not one of the networks that :func:`nsm.models.build` makes: of any other,
            keep the ``state_dict``, or a compiled program.
        ValueError: if it has been changed since, so that :func:`load` would give another network, or holds
            infinity or NaN; nothing is written.
    """
    if not isinstance(net, Network):
        raise TypeError(
            f"net must be a network from nsm.models.build, which can be built again by name, got "
            f"{type(net).__name__}; keep its state_dict(), or nsm.compile(net).save(...)"
        )
    _check_as_built(net)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG_FILE
    config = read_config(folder) if path.exists() else {}
    write_atomically(path, (json.dumps({**config, "network": net.config}, indent=2) + "\n").encode())
    tensors = {name: value.detach().contiguous() for name, value in net.state_dict().items()}
    write_atomically(folder / WEIGHTS_FILE, safetensors.torch.save(tensors))


def _check_as_built(net: Network) -> None:
    with torch.device("meta"):
        built = from_config(net.config)
    for mine, other in zip_longest(repr(net).splitlines(), repr(built).splitlines()):
        if mine != other:
            raise ValueError(
                f"net must be as nsm.models.build made it, but has {str(mine).strip()!r} in place of "
                f"{str(other).strip()!r}; keep its state_dict(), or nsm.compile(net).save(...)"
            )
    # Laws print alike that are not the same.
    for (name, layer), (_, other) in zip(stochastic_layers(net), stochastic_layers(built), strict=True):
        if layer.noise != other.noise:
            raise ValueError(
                f"net must be as nsm.models.build made it, but {name} has another law of noise; "
                "keep its state_dict(), or nsm.compile(net).save(...)"
            )
    for name, module in net.named_modules():
        if change := change_of(module):
            raise ValueError(
                f"net must be as nsm.models.build made it, but {name or 'net'} has {change}; remove it, or "
                "keep the state_dict()"
            )
    expected, state = built.state_dict(), net.state_dict()
    if differing := sorted(expected.keys() ^ state.keys()):
        raise ValueError(
            f"net must be as nsm.models.build made it, but differs in {', '.join(differing)}; if it is "
            "pruned, call torch.nn.utils.prune.remove first"
        )
    for name, value in state.items():
        if value.dtype != expected[name].dtype:
            raise ValueError(f"net must have {name} in {expected[name].dtype}, got {value.dtype}")
        if not value.isfinite().all():
            raise ValueError(f"net must be finite, but {name} holds infinity or NaN")


def load(folder: str | Path) -> Network:
    """The network that :func:`save` wrote, on the CPU.

    Raises:
        ModelFileError: if a file is missing, damaged, or does not fit the network that the config describes.
    """
    folder = Path(folder)
    config = read_config(folder)
    if "network" not in config:
        raise ModelFileError(f"{folder / CONFIG_FILE}: has no key 'network'")
    try:
        net = from_config(config["network"])
    except ValueError as error:
        raise ModelFileError(f"{folder / CONFIG_FILE}: {error}") from error
    net.load_state_dict(_read_weights(folder / WEIGHTS_FILE, net.state_dict()))
    return net


def read_config(folder: Path) -> dict[str, Any]:
    """The JSON object in ``config.json`` of a run folder.

    Raises:
        ModelFileError: if it is missing, too large (16 MiB) or no JSON object.
    """
    path = folder / CONFIG_FILE
    try:
        with path.open("rb") as file:
            data = file.read(_CONFIG_LIMIT + 1)
        if len(data) > _CONFIG_LIMIT:
            raise ModelFileError(f"{path}: larger than {_CONFIG_LIMIT} bytes")
        config = json.loads(data)
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error.strerror}); is {folder} a run folder?"
        ) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise ModelFileError(f"{path}: must hold a JSON object, got {type(config).__name__}")
    return config


def _read_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        # safetensors calls every file that the system refuses missing.
        with path.open("rb"), safetensors.safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if names != set(expected):
                missing, surplus = sorted(set(expected) - names), sorted(names - set(expected))
                raise ModelFileError(
                    f"{path}: does not fit the network; missing {missing}, not expected {surplus}"
                )
            for name, tensor in expected.items():
                shape = tuple(file.get_slice(name).get_shape())
                if shape != tuple(tensor.shape):
                    raise ModelFileError(
                        f"{path}: {name} has shape {shape}, the network needs {tuple(tensor.shape)}"
                    )
            tensors = {name: file.get_tensor(name) for name in expected}
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"{path}: not a valid safetensors file ({error})") from error
    for name, tensor in tensors.items():
        if tensor.dtype != expected[name].dtype:
            raise ModelFileError(
                f"{path}: {name} has dtype {tensor.dtype}, the network needs {expected[name].dtype}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelFileError(f"{path}: {name} holds values that are not finite")
    return tensors
