"""The published networks: shapes, kinds, descriptions, files."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import prune

import nsm
from nsm.models import ARCHITECTURES, MODELS, Model, ModelFileError, build, from_config
from nsm.nn import Linear, Sign, StochasticLayer, is_chain, stochastic_layers


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("model", MODELS)
def test_every_kind_maps_images_to_logits(name: str, model: Model) -> None:
    net = build(name, model=model).eval()
    with torch.no_grad():
        assert net(torch.rand(2, *net.image)).shape == (2, ARCHITECTURES[name].classes)
    # A residual layer of noisy rectifiers adds up tensors around what draws.
    assert is_chain(net) == ((name, model) != ("cifar10-residual", "sn"))
    assert bool(stochastic_layers(net)) == (model in ("nsm", "ste", "stnn"))
    assert type(net[-1]) is nn.Linear


def test_a_part_of_a_network_is_a_plain_sequence() -> None:
    net = build("digits-mlp")
    part = net[:-1]
    assert type(part) is nn.Sequential
    assert list(part) == list(net)[:-1]
    assert net[-1] is list(net)[-1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_kinds_have_the_same_widths(name: str) -> None:
    def widths(model: Model) -> list[tuple[int, ...]]:
        return [
            tuple(p.shape)
            for key, p in build(name, model=model).named_parameters()
            if p.dim() > 1 and p[0].numel() > 1 and not key.endswith("bias")
        ]

    for model in MODELS:
        assert widths(model) == widths("nsm")


def test_the_published_shapes() -> None:
    def weights(name: str) -> list[tuple[int, ...]]:
        return [tuple(p.shape) for p in build(name, model="twin").parameters() if p.dim() > 1]

    assert weights("mnist-mlp") == [(300, 784), (300, 300), (300, 300), (10, 300)]
    assert weights("mnist-cnn") == [(32, 1, 5, 5), (64, 32, 5, 5), (512, 1024), (10, 512)]
    assert weights("nmnist-cnn") == [(32, 10, 5, 5), (64, 32, 5, 5), (150, 1600), (10, 150)]
    for classes in (10, 100):
        assert weights(f"cifar{classes}-allconv") == [
            (96, 3, 3, 3),
            *[(96, 96, 3, 3)] * 3,
            (192, 96, 3, 3),
            *[(192, 192, 3, 3)] * 3,
            *[(192, 192, 1, 1)] * 2,
            (classes, 192),
        ]
    assert weights("dvsgesture-allconv") == [
        (64, 6, 3, 3),
        *[(64, 64, 3, 3)] * 2,
        (96, 64, 3, 3),
        *[(96, 96, 3, 3)] * 2,
        (128, 96, 3, 3),
        *[(128, 128, 3, 3)] * 2,
        (256, 128, 3, 3),
        *[(256, 256, 1, 1)] * 2,
        (11, 256),
    ]


def test_centered_neurons_have_weights_that_sum_to_zero() -> None:
    for model in MODELS:
        net = build("mnist-cnn", model=model, centered=True)
        *hidden, classifier = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(hidden) == 3
        for product in hidden:
            assert product.weight.flatten(1).sum(1).abs().max() < 1e-5
        assert classifier.weight.sum(1).abs().max() > 1e-3


def kinds(net: nn.Module) -> str:
    short = {"Conv2d": "c", "MaxPool2d": "p", "BatchNorm2d": "b", "BatchNorm1d": "b", "AvgPool2d": "a"}
    pools = {m: "p" for m in net.children() if max(getattr(m, "max_pool", (1,))) > 1}
    return "".join(short.get(type(m).__name__, "") + pools.get(m, "") for m in net.children())


@pytest.mark.parametrize("model", ["nsm", "twin"])
def test_the_order_of_the_published_layers(model: Model) -> None:
    assert kinds(build("cifar10-allconv", model=model)) == "bcb" + "cccp" * 2 + "ccc" + "ab"
    # The normalization of the classifier's input is ours.
    assert kinds(build("dvsgesture-allconv", model=model)) == "cccp" * 3 + "ccc" + "ab"
    assert kinds(build("nmnist-cnn", model=model)) == "cp" * 2


def test_the_first_layer_for_cifar_is_conventional_and_the_neurons_have_no_bias() -> None:
    net = build("cifar10-allconv")
    assert type(net[1]) is nn.Conv2d
    layers = [layer for _, layer in stochastic_layers(net)]
    assert len(layers) == 9
    assert all(layer.bias is None for layer in layers)
    assert [layer.binary_input for layer in layers] == [False] + [True] * 8
    assert not any(isinstance(m, nn.ReLU) for m in net)
    twin = build("cifar10-allconv", model="twin-bn")
    assert sum(isinstance(m, nn.ReLU) for m in twin) == 10


def test_the_network_of_populations() -> None:
    net = build("cifar10-residual")
    layers = [layer for _, layer in stochastic_layers(net)]
    assert [len(layer.weight) for layer in layers] == [64, 64, 384, 384, 384, 384]
    assert [layer.population for layer in layers] == [8] * 6
    assert [layer.pooled for layer in layers] == [1, 8, 16, 8, 16, 8]
    assert all(layer.standardized for layer in layers)
    single = build("cifar10-residual", population=1)
    assert [layer.pooled for _, layer in stochastic_layers(single)] == [1, 1, 2, 1, 2, 1]
    assert kinds(net).count("p") == 3
    assert all(layer.max_pool == (1, 1) for layer in layers)
    twin = build("cifar10-residual", model="twin-bn")
    assert sum(isinstance(m, nn.ReLU) for m in twin.modules()) == 8
    assert twin(torch.rand(2, 3, 32, 32)).shape == net(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_populations_are_pooled_by_their_neurons_or_by_their_averages() -> None:
    options: Any = {"population": 5, "standardized": True}
    by_neurons, by_averages = (build("mnist-cnn", pooling=how, **options) for how in ("max", "largest"))
    assert [layer.max_pool for _, layer in stochastic_layers(by_neurons)[:2]] == [(2, 2)] * 2
    assert [layer.max_pool for _, layer in stochastic_layers(by_averages)[:2]] == [(1, 1)] * 2
    layers = [[layer.pooled for _, layer in stochastic_layers(net)] for net in (by_neurons, by_averages)]
    assert layers[0] == layers[1] == [1, 5, 5]
    x = torch.rand(2, 1, 28, 28)
    first, pool = by_averages[0], by_averages[1]
    largest = pool(first(x))
    assert set((5 * largest).round().unique().tolist()) <= {-5.0, -3.0, -1.0, 1.0, 3.0, 5.0}
    assert by_averages(x).shape == by_neurons(x).shape
    one, other = (build("mnist-cnn", model="twin", pooling=how) for how in ("max", "largest"))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("population", [0, 256, 2.0, True, "4"])
def test_an_impossible_population_is_refused(population: Any) -> None:
    with pytest.raises(ValueError, match="population must be a whole number from 1 to 255, got"):
        build("mnist-mlp", population=population)


def test_neurons_of_a_network_without_biases_have_some_where_they_must() -> None:
    layers = [layer for _, layer in stochastic_layers(build("cifar10-allconv-third", population=3))]
    assert all(layer.bias is not None and layer.bias.shape == (3, len(layer.weight)) for layer in layers)
    assert [layer.pooled for layer in layers] == [1] + [3] * 8
    layers = [layer for _, layer in stochastic_layers(build("cifar10-allconv-third", standardized=True))]
    assert all(layer.bias is not None for layer in layers)
    assert all(layer.standardized for layer in layers)


def test_the_kinds_of_the_published_comparison() -> None:
    assert all(
        layer.estimator == "straight-through"
        for _, layer in stochastic_layers(build("mnist-cnn", model="ste"))
    )
    deep = {layer.estimator for _, layer in stochastic_layers(build("cifar10-allconv"))}
    assert deep == {"smoothed"}
    signs = [m.estimator for m in build("mnist-cnn", model="bd") if isinstance(m, Sign)]
    assert signs == ["straight-through"] * 3
    assert [m.estimator for m in build("mnist-cnn", model="bn") if isinstance(m, Sign)] == ["probability"] * 3


def test_binary_inputs_are_declared_where_they_are() -> None:
    def declared(**options: Any) -> list[bool]:
        return [layer.binary_input for _, layer in stochastic_layers(build("mnist-cnn", **options))]

    assert declared() == [False, True, True]
    assert declared(binarize=True) == [True, True, True]
    assert declared(binarize=True, pooling="average") == [True, True, True]
    averages = {1: {-1.0, 1.0}, 4: {-1.0, -0.5, 0.0, 0.5, 1.0}}
    for name, pooling in itertools.product(("mnist-cnn", "dvsgesture-allconv"), ("max", "average")):
        net = build(name, binarize=True, pooling=pooling).eval()
        x = torch.rand(1, *net.image)
        for module in net:
            if isinstance(module, StochasticLayer):
                assert set(x.unique().tolist()) <= averages[module.pooled]
            x = module(x)
    for pooling, pooled in (("max", 1), ("average", 4)):
        net = build("mnist-cnn", binarize=True, pooling=pooling)
        assert [layer.pooled for _, layer in stochastic_layers(net)] == [1, pooled, pooled]


@pytest.mark.parametrize(
    "law", [nsm.Bernoulli(0.25), nsm.Gaussian(1.0), nsm.Measured([0.5, 1.5, 2.0])], ids=repr
)
def test_a_network_describes_itself(law: nsm.NoiseLaw) -> None:
    net = build(
        "digits-mlp",
        noise=law,
        binarize=True,
        pooling="average",
        centered=True,
        population=3,
        standardized=True,
    )
    again = from_config(json.loads(json.dumps(net.config)))
    assert again.config == net.config
    layers = [layer for layer in again if isinstance(layer, Linear)]
    assert all(layer.noise == law for layer in layers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnist"}, "name must be one of digits-mlp, mnist-mlp, mnist-cnn, .*, got 'mnist'"),
        ({"name": "mnist-cnn", "model": "cnn"}, "model must be one of nsm, twin, .*got 'cnn'"),
        (
            {"name": "mnist-cnn", "pooling": "mean"},
            "pooling must be one of max, average, largest, got 'mean'",
        ),
        ({"name": "mnist-cnn", "dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"name": "mnist-cnn", "dropout": "a"}, r"dropout must be in \[0, 1\), got 'a'"),
        ({"name": "mnist-cnn", "centered": "no"}, "centered must be True or False, got 'no'"),
        ({"name": "mnist-cnn", "standardized": 1}, "standardized must be True or False, got 1"),
        ({"name": "mnist-cnn", "binarize": 3}, "binarize must be True or False, got 3"),
        (
            {"name": "mnist-cnn", "noise": "bernoulli"},
            "noise must be a noise law .*, got 'bernoulli'",
        ),
    ],
)
def test_unknown_networks_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("centered", [False, True])
def test_saving_and_loading_gives_the_same_network(tmp_path: Path, centered: bool) -> None:
    net = build("digits-mlp", model="twin-bn", centered=centered)
    (tmp_path / "config.json").write_text('{"training": {"epochs": 3}}')
    nsm.save(net, tmp_path)
    again = nsm.load(tmp_path)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())
    assert json.loads((tmp_path / "config.json").read_text())["training"] == {"epochs": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def damaged(folder: Path, what: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    tensors = dict(build("digits-mlp").state_dict())
    name = "1.product.weight"
    if what == "no config":
        config.unlink()
    elif what == "no json":
        config.write_text("{")
    elif what == "deep json":
        config.write_text("[" * 100_000)
    elif what == "no object":
        config.write_text("[]")
    elif what == "no network":
        config.write_text("{}")
    elif what == "impossible law":
        data = json.loads(config.read_text())
        data["network"]["noise"]["p"] = 2
        config.write_text(json.dumps(data))
    elif what == "no weights":
        weights.unlink()
    elif what == "folder of weights":
        weights.unlink()
        weights.mkdir()
    elif what == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "empty weights":
        weights.write_bytes(b"")
    elif what == "huge header":
        weights.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    elif what == "missing tensor":
        weights.write_bytes(safetensors.torch.save({k: v for k, v in tensors.items() if k != name}))
    elif what == "other shape":
        weights.write_bytes(safetensors.torch.save({**tensors, name: tensors[name][:5].clone()}))
    elif what == "other dtype":
        weights.write_bytes(safetensors.torch.save({**tensors, name: tensors[name].double()}))
    elif what == "nan":
        weights.write_bytes(safetensors.torch.save({**tensors, name: tensors[name] * float("nan")}))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", "config.json: cannot be read"),
        ("no json", "config.json: not valid JSON"),
        ("deep json", "config.json: not valid JSON"),
        ("no object", "config.json: must hold a JSON object"),
        ("no network", "config.json: has no key 'network'"),
        ("impossible law", "config.json: p must be strictly between 0 and 1"),
        ("no weights", r"model.safetensors: cannot be read \(No such file"),
        ("folder of weights", r"model.safetensors: cannot be read \(Is a directory\)"),
        ("cut weights", "model.safetensors: not a valid safetensors file"),
        ("empty weights", "model.safetensors: not a valid safetensors file"),
        ("huge header", "model.safetensors: not a valid safetensors file"),
        ("missing tensor", r"does not fit the network; missing \['1.product.weight'\]"),
        ("other shape", r"1.product.weight has shape \(5, 64\), the network needs \(256, 64\)"),
        ("other dtype", "1.product.weight has dtype torch.float64, the network needs torch.float32"),
        ("nan", "1.product.weight holds values that are not finite"),
    ],
)
def test_damaged_files_end_in_a_clear_error(tmp_path: Path, what: str, message: str) -> None:
    nsm.save(build("digits-mlp"), tmp_path)
    damaged(tmp_path, what)
    with pytest.raises(ModelFileError, match=message):
        nsm.load(tmp_path)


def test_a_network_that_cannot_be_built_by_name_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"net must be a network from nsm.models.build.*, got Sequential; keep"
    ):
        nsm.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: setattr(net.get_submodule("1"), "fidelity", "synapse"), "in place of"),
        (lambda net: net.double(), "net must have 1.bias in torch.float32, got torch.float64"),
        (lambda net: net.get_submodule("1").bias.data.fill_(torch.nan), "1.bias holds infinity or NaN"),
        (lambda net: net.set_submodule("3", torch.nn.Linear(128, 5)), "in place of"),
        (
            lambda net: net.get_submodule("1").register_forward_hook(lambda _layer, _x, y: -y),
            "but 1 has a hook, which could change what it receives or gives; remove it",
        ),
        (
            lambda net: net.get_submodule("1.product").register_forward_pre_hook(lambda _layer, x: -x[0]),
            r"but 1\.product has a hook",
        ),
        (
            lambda net: setattr(net.get_submodule("1"), "forward", torch.sign),
            "but 1 has a forward of its own",
        ),
        (lambda net: setattr(net, "forward", torch.sign), "but net has a forward of its own"),
    ],
)
def test_a_network_that_would_load_as_another_is_not_saved(
    tmp_path: Path, change: Callable[[nsm.models.Network], object], message: str
) -> None:
    net = nsm.models.build("digits-mlp")
    change(net)
    with pytest.raises(ValueError, match=message):
        nsm.save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_network_of_another_law_that_prints_alike_is_not_saved(tmp_path: Path) -> None:
    laws = nsm.Measured([0.0, 1.0, 2.0, 5.0]), nsm.Measured([0.0, 1.00000001, 2.0, 5.0])
    net = nsm.models.build("digits-mlp", noise=laws[0])
    nsm.save(net, tmp_path / "as built")
    net[1].noise = laws[1]
    with pytest.raises(ValueError, match="but 1 has another law of noise"):
        nsm.save(net, tmp_path / "net")


def test_a_pruned_network_is_saved_once_it_is_cut(tmp_path: Path) -> None:
    net = nsm.models.build("digits-mlp")
    prune.l1_unstructured(net[1].product, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"differs in 1\.product\.weight, .*prune\.remove first"):
        nsm.save(net, tmp_path)
    prune.remove(net[1].product, "weight")
    nsm.save(net, tmp_path)
    assert torch.equal(nsm.load(tmp_path)[1].weight, net[1].weight)


def test_a_converted_network_of_the_library_is_not_saved_as_its_twin(tmp_path: Path) -> None:
    twin = nsm.models.build("digits-mlp", model="twin")
    converted = nsm.convert(twin, noise=nsm.Bernoulli(0.5), calibration=torch.rand(20, 1, 8, 8))
    with pytest.raises(ValueError, match=r"net must be as nsm\.models\.build made it"):
        nsm.save(converted, tmp_path / "net")
