"""The recipes that come with the library run, on a few made-up images."""

import pytest

from nsm import data, models
from nsm.training import load_recipe, recipe_names, train, with_overrides
from tests.training.sets import made_up


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_fits_its_data(name):
    config = load_recipe(name)
    info, shape = data.describe(config.data.set), models.ARCHITECTURES[config.network.name]
    assert (shape.image, shape.classes) == (info.image, len(info.classes))


ALLCONV = [name for name in recipe_names() if name not in ("digits", "mnist-cnn", "mnist-mlp")]


@pytest.mark.parametrize("name", ALLCONV)
@pytest.mark.parametrize("model", ["nsm", "twin"])
def test_a_recipe_trains(name, model, tmp_path, monkeypatch):
    config = load_recipe(name)
    splits = made_up(config.data.set, (8, 4, 4))
    monkeypatch.setattr("nsm.data.load", lambda *_, **__: splits)
    overrides = [f"model={model}", "epochs=1", "batch_size=4", "eval_samples=2"]
    result = train(with_overrides(config, overrides), tmp_path / "run", quiet=True)
    (row,) = result.metrics
    assert row.step == 2
    before = models.build(config.network.name, model=model).state_dict()
    after = models.load(tmp_path / "run").state_dict()
    assert before.keys() == after.keys()
    assert all(value.isfinite().all() for value in after.values())
