"""A program's samples are the same bits on every instruction set, in any batch, on any number of threads."""

import functools

import pytest
import torch

import nsm
from nsm import native, random
from nsm.engine import plain
from nsm.engine.layout import Kernels
from nsm.native import paths
from tests.engine.nets import NETS, compiled, images, made

pytestmark = pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")

SETS = paths.instruction_sets() if native.active() == "native" else ()
SEED = 0x7EDCBA9876543210


@pytest.fixture(params=SETS)
def instruction_set(request, monkeypatch):
    monkeypatch.setenv("NSM_KERNELS", request.param)
    return request.param


def kernel_logits(program, x, inputs, samples, seed=SEED):
    kernels = Kernels(paths.kernels(), program.steps)
    shaped = x.reshape(len(x), *program.image).contiguous()
    *_, logits = kernels.run(
        shaped,
        inputs,
        samples=samples if isinstance(samples, range) else range(samples),
        seed=seed,
        keep=True,
        instruction_set=paths.instruction_set(),
    )
    return logits


@functools.cache
def plain_logits(name):
    """Inputs, their indices, and what the plain form says of 9 samples of each."""
    program, x, inputs = compiled(name), images(name, 3), torch.tensor([0, 2**32 - 1, 77])
    shaped, samples = x.view(len(x), *program.image), torch.arange(9)
    return x, inputs, plain.logits(program.steps, shaped, samples=samples, inputs=inputs, seed=SEED)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("name", NETS)
def test_kernels_are_the_plain_form_bit_for_bit(name):
    x, inputs, expected = plain_logits(name)
    assert torch.equal(kernel_logits(compiled(name), x, inputs, 9), expected)
    assert len(expected.flatten(0, 1).unique(dim=0)) > 20


@pytest.fixture
def one_thread(monkeypatch):
    """All samples go through the layers together, so that there are as many rows as tables need."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


@pytest.mark.usefixtures("instruction_set", "one_thread")
@pytest.mark.parametrize("samples", [5, 27, 300])  # rows are multiplied, merged and multiplied, or looked up
def test_the_largest_sums_are_the_plain_forms(samples):
    # Every neuron of the first layer fires; behind it some neurons have nothing but the largest weight.
    net, _ = made("wide")
    with torch.no_grad():
        net[0].bias.fill_(1e4)
    program, x, inputs = nsm.compile(net), images("wide", 1), torch.tensor([3])
    expected = plain.logits(
        program.steps, x.view(1, *program.image), samples=torch.arange(samples), inputs=inputs, seed=SEED
    )
    assert torch.equal(kernel_logits(program, x, inputs, samples), expected)


@functools.cache
def sure_logits():
    """An input of a network whose neurons are mostly sure, and 300 samples of it by the plain form."""
    program, x = compiled("sure"), images("sure", 1)
    shaped, samples = x.view(1, *program.image), torch.arange(300)
    return x, plain.logits(program.steps, shaped, samples=samples, inputs=torch.tensor([3]), seed=SEED)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("samples", [16, 100, 128, 300])  # fewest; a piece, compared in two parts; pieces
def test_samples_that_are_alike_are_the_plain_forms(samples):
    x, expected = sure_logits()
    logits = kernel_logits(compiled("sure"), x, torch.tensor([3]), samples)
    assert torch.equal(logits, expected[:, :samples])
    assert len(expected[0].unique(dim=0)) > 20


def sure_and_unsure():
    """Inputs of that network, every second one so loud that biases tell little beside its noise."""
    x = images("sure", 6)
    return torch.where(torch.arange(6)[:, None] % 2 == 0, x, 40.0 * x)


def test_samples_are_alike_of_some_inputs_and_of_others_not():
    # Else the tests beside this one would be of products, or of comparisons, alone.
    net, _ = made("sure")
    heard = []
    for _, layer in list(nsm.nn.stochastic_layers(net))[1:]:
        layer.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    for x in sure_and_unsure():
        net(x.expand(100, -1).contiguous())
    fired = torch.stack([(z > 0.0).float().mean(0).minimum((z < 0.0).float().mean(0)).mean() for z in heard])
    first, second = fired.view(6, 2).unbind(1)
    assert (first[::2] > 0.01).all()
    assert (first[::2] < 0.1).all()
    assert (first[1::2] > 0.23).all()
    assert (second > 0.01).all()
    assert (second < 0.2).all()


@pytest.mark.usefixtures("one_thread", "instruction_set")
def test_inputs_alike_and_not_are_the_plain_forms_in_one_call():
    # Some samples of each are multiplied, looked up, or compared; the second call knows more than the first.
    program, x, inputs = compiled("sure"), sure_and_unsure(), torch.arange(6)
    expected = plain.logits(
        program.steps, x.view(6, *program.image), samples=torch.arange(70), inputs=inputs, seed=SEED
    )
    kernels = Kernels(paths.kernels(), program.steps)
    for _ in range(3):
        *_, logits = kernels.run(
            x.reshape(6, *program.image),
            inputs,
            samples=range(70),
            seed=SEED,
            keep=True,
            instruction_set=paths.instruction_set(),
        )
        assert torch.equal(logits, expected)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("choice", ["avx512", "avx2", "neon"])
@pytest.mark.parametrize(
    "name", ["vectors", "digits", "maximum", "bordered", "stem", "published", "sure", "wide"]
)
def test_tables_give_the_samples_of_products(monkeypatch, name, choice):
    if choice not in SETS:
        pytest.skip(f"this processor has no {choice}")
    # As many samples as it takes for every layer to be read as bits; and no whole number of lines.
    program, x = compiled(name), images(name, 3)
    inputs, found = torch.tensor([5, 2**32 - 1, 0]), []
    for instructions in (choice, "portable"):
        monkeypatch.setenv("NSM_KERNELS", instructions)
        found.append(kernel_logits(program, x, inputs, 109))
    assert torch.equal(*found)


@pytest.mark.parametrize("name", ["vectors", "averaged"])
def test_samples_do_not_depend_on_the_batch_or_on_how_many_there_are(name):
    program, x = compiled(name), images(name, 5)
    inputs = torch.arange(5) + 3
    together = kernel_logits(program, x, inputs, 150)
    for i in range(5):
        alone = kernel_logits(program, x[i : i + 1], inputs[i : i + 1], 7 + 20 * i)
        assert torch.equal(alone[0], together[i, : 7 + 20 * i])


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("name", NETS)
def test_later_samples_are_those_of_a_whole_call(name):
    # Past a piece, and past a line of 32 samples.
    program, x = compiled(name), images(name, 3)
    inputs = torch.tensor([5, 2**32 - 1, 0])
    whole = kernel_logits(program, x, inputs, 150)
    for samples in (range(4, 5), range(36, 47), range(128, 150)):
        assert torch.equal(kernel_logits(program, x, inputs, samples), whole[:, samples.start : samples.stop])


def test_the_last_samples_of_the_random_streams():
    program, x = compiled("vectors"), images("vectors", 2)
    inputs, samples = torch.tensor([1, 2**32 - 1]), range(2**32 - 8, 2**32)
    expected = plain.logits(
        program.steps, x.view(2, *program.image), samples=torch.tensor(samples), inputs=inputs, seed=SEED
    )
    assert torch.equal(kernel_logits(program, x, inputs, samples), expected)


def test_samples_that_begin_within_a_quad_are_refused():
    with pytest.raises(ValueError, match="the first sample must be the first of a quad"):
        kernel_logits(compiled("vectors"), images("vectors", 1), torch.tensor([0]), range(6, 9))


# Threads share the pieces of one input, and 40 threads those of two: as many threads as quads; more; several
# pieces; and a last piece that is too short for all of them.
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(
    ("name", "count", "samples"),
    [
        ("published", 4, 60),
        ("published", 1, 60),
        ("published", 1, 300),
        ("wide", 1, 109),
        ("published", 2, 263),
    ],
)
def test_samples_and_sums_do_not_depend_on_threads(monkeypatch, name, count, samples):
    program, x = compiled(name), images(name, count)
    found = []
    for threads in (1, 2, 3, 40):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(program.predict(x, samples=samples, seed=1, votes=True))
        # What threads add up at once where nobody asks for votes.
        alone = program.predict(x, samples=samples, seed=1)
        for name in ("probabilities", "entropy", "mutual_information"):
            assert torch.equal(getattr(alone, name), getattr(found[-1], name))
    for one, *others in zip(*found, strict=True):
        assert all(torch.equal(one, other) for other in others)


def test_a_shared_input_that_is_not_finite_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 40)
    program, x = compiled("published"), images("published", 2)
    expected = program.predict(x, samples=263).probabilities
    for broken in (0, 1):
        damaged = x.clone()
        damaged[broken].view(-1)[3] = torch.nan
        with pytest.raises(ValueError, match=f"x must be finite, but input {broken}"):
            program.predict(damaged, samples=263)
    assert torch.equal(program.predict(x, samples=263).probabilities, expected)


def test_a_single_input_whose_first_layer_overflows_is_refused_by_all_threads(monkeypatch):
    program, x = compiled("published"), images("published", 1)
    expected = program.predict(x, samples=60).probabilities
    for threads in (1, 2, 40):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with pytest.raises(ValueError, match="input 0 is too large: the first layer overflows"):
            program.predict(1e30 * x, samples=60)
        assert torch.equal(program.predict(x, samples=60).probabilities, expected)


def test_sums_do_not_depend_on_what_is_kept_at_a_time():
    # More pieces of an input than are summed up together, and in a batch the border lies elsewhere.
    program, x = compiled("vectors"), images("vectors", 3)
    inputs, samples = torch.tensor([3, 5, 7]), 190_000
    together = program.predict(x, samples=samples, seed=3, inputs=inputs)
    for i in range(3):
        alone = program.predict(x[i : i + 1], samples=samples, seed=3, inputs=inputs[i : i + 1])
        assert torch.equal(alone.probabilities[0], together.probabilities[i])
        assert torch.equal(alone.expected_entropy[0], together.expected_entropy[i])


@pytest.mark.parametrize("name", ["vectors", "averaged"])
def test_without_kernels_the_prediction_is_the_same(monkeypatch, name):
    program, x = compiled(name), images(name, 2)
    inputs = torch.tensor([4, 9])
    predictions = []
    for choice in ("auto", "off"):
        monkeypatch.setenv("NSM_KERNELS", choice)
        predictions.append(program.predict(x, samples=60, seed=2, votes=True, inputs=inputs))
    for fast, slow in zip(*predictions, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


def test_layers_samples_inputs_and_seeds_draw_apart():
    x = images("vectors", 1).expand(2, -1)
    program = compiled("vectors")
    logits = kernel_logits(program, x, torch.tensor([0, 1]), 40)
    assert not torch.equal(logits[0], logits[1])
    assert len(logits[0].unique(dim=0)) > 20
    other = kernel_logits(program, x, torch.tensor([0, 1]), 40, seed=SEED ^ 2**40)
    assert not torch.equal(logits, other)


def test_halves_are_those_of_the_blocks():
    # The block of Random123's answer: counter and key all zeros.
    drawn = random.halves(torch.tensor(0), torch.tensor([[0, 0]]), 20, 0)[0].tolist()
    halves = drawn[:4] + drawn[16:]
    words = [low | high << 16 for low, high in zip(halves[::2], halves[1::2], strict=True)]
    assert words == [0xDACF61FF, 0xC45798F3, 0x113C7EEB, 0x101E27F3]


def test_halves_at_large_coordinates():
    rows = torch.tensor([[2**32 - 1, 2**32 - 2], [6, 11]])
    where = random.place(3, 1, random.Purpose.PROGRAM)
    drawn = random.halves(torch.tensor(SEED), rows, 70, where)
    key = torch.tensor([SEED & 0xFFFFFFFF, SEED >> 32, 0, 0])
    for row, (sample, index) in enumerate(rows.tolist()):
        for element in (0, 3, 4, 15, 16, 31, 32, 47, 48, 69):
            block, half = 4 * (element // 32) + element % 16 // 4, 4 * (element % 32 // 16) + element % 4
            word = int(random.ars4x32(torch.tensor([block, index, sample, where]), key)[half // 2])
            assert int(drawn[row, element]) == word >> 16 * (half % 2) & 0xFFFF
