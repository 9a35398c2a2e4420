"""The optimizer: groups of parameters, state that exists from the start, rates of each step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nsm.nn import stochastic_layers
from nsm.training.config import TrainingConfig
from nsm.training.muon import Muon
from nsm.training.schedule import Rates


def build_optimizer(net: nn.Module, config: TrainingConfig) -> Optimizer:
    """An optimizer over ``net`` with these groups: weights (decayed), gains beta (their own learning rate),
    the rest, and for ``"muon"`` the classifier's weights apart from those of the layers before it.

    Its state is zeros from the start, which is where the first step would begin.
    """
    gains = {layer.beta for _, layer in stochastic_layers(net)}
    weights: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in net.named_parameters():
        if parameter not in gains:
            (weights if _is_weight(name, parameter) else rest).append(parameter)
    matrices: list[Tensor] = []
    if config.optimizer == "muon":
        *matrices, classifier = weights
        weights = [classifier]
    groups = [
        {"params": matrices, "factor": 1.0, "weight_decay": 0.0, "matrices": True},
        {"params": weights, "factor": 1.0, "weight_decay": config.weight_decay, "matrices": False},
        {
            "params": [p for p in net.parameters() if p in gains],
            "factor": config.gain_lr,
            "weight_decay": 0.0,
            "matrices": False,
        },
        {"params": rest, "factor": 1.0, "weight_decay": 0.0, "matrices": False},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer: Optimizer
    if config.optimizer == "sgd":
        optimizer = SGD(groups, lr=config.lr, momentum=config.betas[0], fused=True)
    elif config.optimizer == "muon":
        optimizer = Muon(groups, lr=config.lr, betas=config.betas, eps=config.eps)
    else:
        kind = Adam if config.optimizer == "adam" else AdamW
        optimizer = kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            plain = config.optimizer == "sgd" or group["matrices"]
            optimizer.state[parameter] = _initial_state(parameter, plain=plain)
    return optimizer


def set_rates(optimizer: Optimizer, config: TrainingConfig, rates: Rates) -> None:
    """Learning rate and first beta (momentum) of the next step."""
    beta1 = config.betas[0] if rates.beta1 is None else rates.beta1
    for group in optimizer.param_groups:
        group["lr"] = config.lr * rates.lr_factor * group["factor"]
        if config.optimizer == "sgd":
            group["momentum"] = beta1
        else:
            group["betas"] = (beta1, config.betas[1])


def _is_weight(name: str, parameter: Tensor) -> bool:
    # Of more dimensions than one are biases of populations, too, and what torch's weight_norm keeps as norms.
    return parameter.dim() > 1 and not name.endswith(("bias", "original0"))


def _initial_state(parameter: Tensor, *, plain: bool) -> dict[str, Tensor]:
    if plain:
        return {"momentum_buffer": torch.zeros_like(parameter)}
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
