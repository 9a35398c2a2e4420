import dataclasses
import json
import pickle

import pytest

import nsm
from nsm.training import (
    AugmentationConfig,
    Config,
    DataConfig,
    NetworkConfig,
    TrainingConfig,
    load_recipe,
    recipe_names,
    with_overrides,
)
from tests.training.configs import digits


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_json(name):
    config = load_recipe(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_three_recipes_are_shipped():
    assert set(recipe_names()) >= {"digits", "mnist-mlp", "mnist-cnn"}


def test_a_recipe_may_be_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[network]\nname = "digits-mlp"\nnoise = "gaussian:0.5"\n[data]\nset = "digits"\n')
    assert load_recipe(path).network.noise == nsm.Gaussian(0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "mine.toml"),
        (
            "network.name = 'digits-mlp'\ndata.set = 'digits'\ntraining.epoch = 3",
            "training.epoch is unknown; valid fields: epochs, ",
        ),
        ("[trainig]\nepochs = 3", "trainig is no section"),
        ("training = 3", "network.name is missing"),
        ("network = 3", "network must be a table of fields, got 3"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_name(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


def test_a_recipe_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of .*digits, .*got 'minst-cnn'"):
        load_recipe("minst-cnn")
    with pytest.raises(ValueError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "training.epochs must be at least 1, got 0"),
        ("epochs", 1.5, "training.epochs must be an integer of 64 bits, got 1.5"),
        ("epochs", True, "an integer"),
        ("batch_size", 10**22, "training.batch_size must be an integer of 64 bits, got 10000"),
        ("lr", float("nan"), "a finite number"),
        ("lr", "fast", "training.lr must be a finite number, got 'fast'"),
        ("lr", 0.0, "positive"),
        ("optimizer", "rmsprop", "one of adam, adamw, sgd, muon, got 'rmsprop'"),
        ("betas", [0.9], "2 numbers"),
        ("betas", [0.9, 1.0], r"in \[0, 1\)"),
        ("betas", [0.8, 0.999], "which the schedule one-cycle sets itself"),
        ("warmup", 0.1, "0 unless the schedule is cosine"),
        ("averaging", 1.0, r"in \(0, 1\) or none"),
        ("clip", 0, "positive or none"),
        ("seed", -1, "in "),
        ("label_smoothing", 1.0, r"in \[0, 1\)"),
        ("precision", "16", "one of 32-true, bf16-mixed"),
        ("patience", 0, "at least 1 or none"),
    ],
)
def test_impossible_values_are_refused_by_name(field, value, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{field: value})


def test_numbers_that_no_float_holds_are_refused():
    huge = "9" * 400
    for assignment in (f"lr={huge}", f"shift={huge}", f"noise={{law = 'gaussian', std = {huge}}}"):
        with pytest.raises(ValueError, match=r"(lr|shift|std) must be .*finite"):
            with_overrides(load_recipe("digits"), [assignment])


def test_a_recipe_that_is_nested_too_deeply_is_named(tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text("x = " + "[" * 50_000)
    with pytest.raises(ValueError, match=r"deep\.toml: "):
        load_recipe(path)


def test_other_sections_are_checked_too():
    for values, message in (
        ({"fold": [2, 2]}, r"data.fold must be \[k, n\] with n >= 2 and 0 <= k < n, got \(2, 2\)"),
        ({"fold": [0, 2], "validation": 0}, "data.validation must be none where a fold is held out, got 0"),
        ({"simulated": 0}, "data.simulated must be at least 1 or none, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            DataConfig(set="digits", **values)
    for values, message in (
        ({"drop": 1.0}, r"augmentation.drop must be in \[0, 1\), got 1.0"),
        ({"jitter": -1.0}, r"augmentation.jitter must be at least 0 \(us\), got -1.0"),
        ({"copies": 0}, "augmentation.copies must be at least 1, got 0"),
        ({"early": 1.5}, r"augmentation.early must be in \[0, 1\], got 1.5"),
        ({"until": 0.0}, r"augmentation.until must be in \(0, 1\], got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            AugmentationConfig(**values)
    with pytest.raises(ValueError, match=r"network.name must be one of .*mnist-cnn.*got 'resnet'"):
        NetworkConfig(name="resnet")
    with pytest.raises(ValueError, match=r"network.overrides.width is unknown; valid fields: .*binarize"):
        NetworkConfig(name="digits-mlp", overrides={"width": 3})
    with pytest.raises(ValueError, match=r"network.overrides.binarize must be true or false, got 1"):
        NetworkConfig(name="digits-mlp", overrides={"binarize": 1})
    with pytest.raises(ValueError, match="p must be strictly between 0 and 1"):
        NetworkConfig(name="digits-mlp", noise="bernoulli:1.5")
    with pytest.raises(ValueError, match=r"bernoulli:P or gaussian:STD.*got 'cauchy:1'"):
        NetworkConfig(name="digits-mlp", noise="cauchy:1")
    with pytest.raises(ValueError, match=r"data\.validation"):
        digits(validation=-1)
    with pytest.raises(ValueError, match="patience needs validation images"):
        digits(validation=0, patience=2)
    with pytest.raises(ValueError, match=r"data.set is missing"):
        Config.from_dict({"network": {"name": "digits-mlp"}})


def test_a_law_may_be_written_in_three_ways():
    ways = ("bernoulli:0.25", {"law": "bernoulli", "p": 0.25}, nsm.Bernoulli(0.25))
    assert len({NetworkConfig(name="digits-mlp", noise=way) for way in ways}) == 1


def test_a_configuration_can_be_sent_to_another_process():
    config = with_overrides(digits(), ["binarize=true", "noise=gaussian:0.5"])
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert dict(again.network.overrides) == {"binarize": True}


def test_a_configuration_cannot_be_changed():
    config = digits()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.training.epochs = 3
    with pytest.raises(TypeError):
        config.network.overrides["binarize"] = True


@pytest.mark.parametrize(
    ("assignment", "section", "field", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("epochs = 3", "training", "epochs", 3),
        ("lr=1e-3", "training", "lr", 1e-3),
        ("lr=.5", "training", "lr", 0.5),
        ("betas=[0.9, 0.99]", "training", "betas", (0.9, 0.99)),
        ("clip=1", "training", "clip", 1.0),
        ("checkpoint_minutes=none", "training", "checkpoint_minutes", None),
        ("spread=1", "training", "spread", 1.0),
        ("model=twin-bn", "network", "model", "twin-bn"),
        ("noise=gaussian:1.0", "network", "noise", nsm.Gaussian(1.0)),
        ("noise={law='bernoulli', p=0.25}", "network", "noise", nsm.Bernoulli(0.25)),
        ("set=fashion-mnist", "data", "set", "fashion-mnist"),
        ("validation=0", "data", "validation", 0),
        ("shift=2", "augmentation", "shift", 2.0),
        ("binarize=true", "network", "overrides", {"binarize": True}),
        ("pooling=average", "network", "overrides", {"pooling": "average"}),
        ("network.overrides.dropout=0.1", "network", "overrides", {"dropout": 0.1}),
    ],
)
def test_overrides_replace_one_field(assignment, section, field, value):
    base = digits()
    changed = with_overrides(base, [assignment])
    assert getattr(getattr(changed, section), field) == value
    before, after = base.to_dict(), changed.to_dict()
    del before[section][field], after[section][field]
    assert before == after


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "field=value"),
        ("epoch=3", "epoch is no field; valid fields: network.name"),
        ("epochs=many", "training.epochs must be an integer of 64 bits, got 'many'"),
        ("epochs=none", "an integer"),
        ("model=resnet", "one of nsm, twin"),
        ("overrides=3", "no field"),
        ("lr=inf", "finite"),
    ],
)
def test_wrong_overrides_are_refused(assignment, message):
    with pytest.raises(ValueError, match=message):
        with_overrides(digits(), [assignment])
