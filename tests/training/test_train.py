import csv
import json
import sys

import pytest
import torch

import nsm
from nsm import data, nn
from nsm.training import (
    METRICS_FILE,
    EpochMetrics,
    NotFiniteError,
    RunFolderError,
    fresh_network,
    read_metrics,
    read_recipe,
    train,
    with_overrides,
)
from nsm.training.metrics import out_of_patience
from nsm.training.processes import launch
from nsm.training.run import Run
from tests.training.configs import digits


def weights(net):
    return torch.cat([value.flatten().double() for value in net.state_dict().values()])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return train(digits(epochs=12, averaging=0.9, label_smoothing=0.05, clip=5.0), folder, quiet=True)


def test_it_learns(trained):
    assert trained.metrics[0].validation_error_percent > 20.0
    assert trained.metrics[-1].validation_error_percent < 8.0


def test_the_folder_holds_the_run(trained):
    files = {path.name for path in trained.folder.iterdir()}
    assert files == {"config.json", "model.safetensors", "metrics.csv", "checkpoint.safetensors"}
    assert torch.equal(weights(nsm.load(trained.folder)), weights(trained.net))
    config = json.loads((trained.folder / "config.json").read_text())
    assert set(config) == {"network", "recipe", "versions", "commit"}
    assert read_recipe(trained.folder).training.epochs == 12


@pytest.mark.parametrize(
    ("epochs", "batch_size", "decay"), [(12, 100, 0.9), (1, 100, 1 / 6), (1, 1000, 0.0), (12, 10, 0.99)]
)
def test_the_average_spans_a_tenth_of_the_run_at_most(tmp_path, epochs, batch_size, decay):
    # Of 1,137 images.
    config = digits(epochs=epochs, batch_size=batch_size, averaging=decay if decay > 0.5 else 0.99)
    splits = data.load("digits", validation=300)
    run = Run(launch("32-true"), config, fresh_network(config, splits.train), splits, tmp_path)
    assert run.average.decay == pytest.approx(decay)


def test_metrics_are_one_row_for_each_epoch(trained):
    with (trained.folder / METRICS_FILE).open() as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == EpochMetrics._fields
    assert [tuple(map(float, row)) for row in rows] == [tuple(row) for row in trained.metrics]
    assert [row.epoch for row in trained.metrics] == list(range(1, 13))
    assert trained.metrics[-1].step == 144
    assert 0.0 < trained.metrics[0].seconds < 60.0


def test_the_network_comes_back_ready_for_use(trained):
    assert not trained.net.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in trained.net.parameters())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "twin-dropout", "validation": 0},
        {"model": "sn", "schedule": "cosine", "warmup": 0.1},
        {"precision": "bf16-mixed"},
        {"draws": 2, "loss": "sample", "shift": 1.0, "optimizer": "sgd", "schedule": "constant-linear"},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_the_same_seed_gives_the_same_weights(tmp_path, fields):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(digits(**fields), tmp_path / "first", quiet=True)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = train(digits(**fields), tmp_path / "second", quiet=True)
    other = train(digits(**fields, seed=1), tmp_path / "other", quiet=True)
    assert torch.equal(weights(first.net), weights(second.net))
    assert not torch.equal(weights(first.net), weights(other.net))
    assert all(row.validation_nll is None for row in first.metrics) == (fields.get("validation") == 0)


def test_a_folder_with_anything_in_it_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is not empty"):
        train(digits(), tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"config.json: cannot be read"):
        train(digits(), tmp_path, quiet=True, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    for name in ("notes.txt", 300 * "long", "no \udcff text"):
        with pytest.raises(RunFolderError, match="cannot be used as a run folder"):
            train(digits(), tmp_path / name, quiet=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_a_run_is_being_trained_is_refused(tmp_path, resume):
    folder = tmp_path / "run"

    def intrude(*_):
        held = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        with pytest.raises(RunFolderError, match="run is in use: a run is being trained in it"):
            train(digits(), folder, quiet=True, resume=resume)
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == held

    first = train(digits(epochs=1), folder, quiet=True, watch=intrude)
    again = train(digits(epochs=1), folder, quiet=True, resume=True)
    assert torch.equal(weights(again.net), weights(first.net))


def test_another_configuration_does_not_continue_a_run(trained):
    with pytest.raises(RunFolderError, match=r"training.epochs is 12 in the file and 2 here"):
        train(digits(), trained.folder, quiet=True, resume=True)


def test_a_finished_run_resumes_to_itself(trained):
    config = read_recipe(trained.folder)
    before = (trained.folder / METRICS_FILE).read_bytes()
    again = train(config, trained.folder, quiet=True, resume=True)
    assert torch.equal(weights(again.net), weights(trained.net))
    assert (trained.folder / METRICS_FILE).read_bytes() == before
    assert again.metrics == trained.metrics


def test_a_network_that_does_not_fit_the_images_is_refused(tmp_path, monkeypatch):
    splits = data.load("digits")
    letters = splits.train.__class__(splits.train.images, splits.train.targets % 2, ("a", "b"), "letters")
    monkeypatch.setattr(data, "load", lambda *_, **__: splits._replace(train=letters))
    with pytest.raises(
        ValueError, match=r"digits-mlp takes .* in 10 classes, but data set digits has .* in 2"
    ):
        train(digits(), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_calibrated_start():
    images = data.load("digits", validation=300).train
    plain, again, wide = (fresh_network(digits(spread=spread), images) for spread in (None, 1.0, 2.0))
    assert torch.equal(weights(fresh_network(digits(spread=1.0), images)), weights(again))
    layer, calibrated, wider = (nn.stochastic_layers(net)[0][1] for net in (plain, again, wide))
    assert torch.equal(layer.weight, calibrated.weight)
    assert (layer.a.abs() < 1e-6).all()
    x, _ = images.batch(torch.arange(len(images)))
    flat = x.flatten(1)
    for net, spread in ((calibrated, 1.0), (wider, 2.0)):
        s = net.erf_argument(flat).flatten(0, 1)
        assert s.std(0).median().item() == pytest.approx(spread, rel=0.1)
        assert s.mean(0).abs().median() < 0.1 * spread


def test_early_stop(tmp_path):
    # A rate this small changes no prediction.
    config = digits(epochs=9, lr=1e-12, patience=2, eval_samples=1, schedule="constant")
    result = train(config, tmp_path, quiet=True)
    assert [row.epoch for row in result.metrics] == [1, 2, 3]
    assert train(config, tmp_path, quiet=True, resume=True).metrics == result.metrics


def test_patience_counts_epochs_without_a_new_best():
    def rows(*errors):
        return [EpochMetrics(1, 1, 0.0, 0.0, error, 0.0, 0.0, 0.0) for error in errors]

    assert not out_of_patience(rows(3.0, 3.0), 2)
    assert out_of_patience(rows(3.0, 3.0, 4.0), 2)
    assert not out_of_patience(rows(3.0, 4.0, 2.9), 2)
    assert not out_of_patience(rows(*[3.0] * 99), None)


def poison(monkeypatch, step, act):
    original = Run.step

    def poisoned(self, shard, request):
        if self.progress.step == step:
            act(self.net)
        return original(self, shard, request)

    monkeypatch.setattr(Run, "step", poisoned)


def spoil_parameter(net):
    with torch.no_grad():
        net[2].product.weight[0, 0] = torch.nan


def spoil_output(net):
    net[3].register_forward_hook(lambda _module, _inputs, output: output * torch.inf)


def spoil_gradient(net):
    net[2].beta.register_hook(lambda gradient: gradient * torch.nan)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            spoil_parameter,
            r"step 18 \(epoch 2\): parameter product.weight of layer 2 \(Linear\) is not finite",
        ),
        (spoil_output, r"step 18 \(epoch 2\): the output of layer 3 \(Linear\) is not finite"),
        (spoil_gradient, r"step 18 \(epoch 2\): the gradient of beta of layer 2 \(Linear\) is not finite"),
    ],
)
def test_infinity_and_nan_stop_the_run_and_keep_the_checkpoint(tmp_path, monkeypatch, act, message):
    config = digits(epochs=3, checkpoint_steps=6)
    with monkeypatch.context() as patch:
        poison(patch, 17, act)
        with pytest.raises(NotFiniteError, match=f"{message}; the last checkpoint is kept"):
            train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    resumed = train(config, tmp_path / "run", quiet=True, resume=True)
    assert torch.equal(weights(resumed.net), weights(train(config, tmp_path / "whole", quiet=True).net))


def test_a_folder_that_is_refused_is_left_alone(tmp_path):
    names = [".precious.tmp", ".model.safetensors.7-8.tmp", "thesis.txt"]
    for name in names:
        (tmp_path / name).write_text(name)
    with pytest.raises(RunFolderError, match="is not empty"):
        train(digits(epochs=1), tmp_path, quiet=True)
    assert {name for name in names if (tmp_path / name).read_text() == name} == set(names)


def test_a_leftover_that_cannot_be_removed_is_named(tmp_path):
    (tmp_path / ".config.json.7-8.tmp").mkdir()
    with pytest.raises(RunFolderError, match=r"cannot be used as a run folder \(\.config\.json\.7-8\.tmp: "):
        train(digits(epochs=1), tmp_path, quiet=True)


def test_what_looks_on_sees_the_network_in_evaluation_and_changes_nothing(tmp_path):
    x, modes = torch.rand(50, 1, 8, 8), []

    def look(_folder, _epoch, net):
        modes.append(net.training)
        net(x)

    config = digits(model="twin-bn", epochs=2)
    watched = train(config, tmp_path / "watched", quiet=True, watch=look)
    alone = train(config, tmp_path / "alone", quiet=True)
    assert modes == [False, False]
    assert torch.equal(weights(watched.net), weights(alone.net))


@pytest.mark.parametrize("network", [["model=twin-bn"], ["standardized=true"]])
def test_a_last_batch_of_one_image_is_refused_where_batches_are_normalized(tmp_path, network):
    config = with_overrides(digits(epochs=1, batch_size=568), network)
    message = r"training.batch_size must leave .*: of 1137 images, 568 at a time leave 1"
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_last_batch_of_one_image_is_learnt_where_they_are_not(tmp_path):
    train(digits(epochs=1, batch_size=568), tmp_path, quiet=True)


def test_a_run_that_fails_at_once_claims_no_checkpoint(tmp_path, monkeypatch):
    poison(monkeypatch, 1, spoil_output)
    with pytest.raises(NotFiniteError, match="is not finite; there was no checkpoint yet"):
        train(digits(epochs=3), tmp_path, quiet=True)


def test_a_weight_that_is_not_finite_is_never_written(tmp_path, monkeypatch):
    original = Run.save

    def spoiled(self):
        spoil_parameter(self.net)
        original(self)

    monkeypatch.setattr(Run, "save", spoiled)
    with pytest.raises(NotFiniteError, match=r"after step 24 parameter product.weight of layer 2"):
        train(digits(), tmp_path, quiet=True)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_denormals_are_as_before(trained):
    assert float(torch.tensor(1e-40) * 1.0) != 0.0


def test_without_tensorboard_no_folder_is_begun(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"neural-sampling-machines\[tensorboard\]"):
        train(digits(epochs=1), tmp_path / "run", quiet=True, tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_a_tensorboard_log_on_request(tmp_path):
    pytest.importorskip("tensorboard")
    train(digits(epochs=1), tmp_path, quiet=True, tensorboard=True)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_nothing_is_shown_where_there_is_no_terminal(tmp_path, capfd):
    train(digits(epochs=1), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    train(digits(), tmp_path / "shown")
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "validation error" in shown
    train(digits(), tmp_path / "quiet", quiet=True)
    assert capsys.readouterr().err == ""


def test_metrics_are_read_back(trained, tmp_path):
    assert read_metrics(trained.folder) == trained.metrics
    heading = ",".join(EpochMetrics._fields)
    for text in ("", "epoch,step\n1,2\n", "\0", f"{heading}\n1,2\n", f"{heading}\n{'x,' * 7}x\n"):
        (tmp_path / METRICS_FILE).write_text(text)
        with pytest.raises(RunFolderError, match=r"metrics\.csv: holds no metrics of a run"):
            read_metrics(tmp_path)
    with pytest.raises(RunFolderError, match="holds no metrics"):
        read_metrics(tmp_path / "none")
    unjudged = train(digits(epochs=1, validation=0), tmp_path / "run", quiet=True)
    assert read_metrics(tmp_path / "run") == unjudged.metrics


def test_a_run_starts_with_the_weights_of_another(trained, tmp_path):
    images = data.load("digits", validation=300).train
    config = digits(start=str(trained.folder), spread=1.0, epochs=1, lr=1e-12, schedule="constant")
    assert torch.equal(weights(fresh_network(config, images)), weights(trained.net))
    result = train(config, tmp_path / "run", quiet=True)
    torch.testing.assert_close(weights(result.net), weights(trained.net), atol=1e-6, rtol=0)
    assert read_recipe(tmp_path / "run").training.start == str(trained.folder)


def test_a_start_from_another_network_is_refused(trained, tmp_path):
    for config, message in (
        (
            digits(model="twin", start=str(trained.folder)),
            r"training\.start must be .* with model 'twin', or of its trained .*, got .*, which has 'nsm'",
        ),
        (digits(start=str(tmp_path / "none")), "is .*none a run folder"),
    ):
        with pytest.raises(ValueError, match=message):
            train(config, tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()
