"""Sums over drawn synapses: the kernels' bits are those of the plain torch form."""

import itertools

import pytest
import torch

import nsm
from nsm import native, random, synapses

KERNELS = native.active() == "native"
LAWS = [
    nsm.Bernoulli(0.5),
    nsm.Bernoulli(0.3),
    nsm.Bernoulli(1e-3),
    nsm.Bernoulli(2**-32),
    nsm.Bernoulli(1 - 2**-32),
    nsm.Gaussian(0.7),
    nsm.Measured([0.1, 0.9, 0.9, 1.3, 2.0]),
    nsm.Measured([0.0] * 999 + [7.0]),
]
# (N, P, G, F, C): less than a group, whole groups, several groups of neurons, several draws of four groups.
SHAPES = [
    (3, 1, 1, 5, 4),
    (2, 7, 1, 64, 3),
    (2, 3, 2, 25, 6),
    (1, 1, 1, 784, 5),
    (4, 2, 1, 130, 1),
    (1, 5, 1, 2100, 3),
]
PLACE = random.place(3, 5, random.Purpose.SYNAPSE)


def inputs(shape, law, samples=1):
    count, positions, groups, fan_in, channels = shape
    generator = torch.Generator().manual_seed(sum(shape))
    fields = torch.randn(count, positions, groups, fan_in, generator=generator)
    weight = torch.randn(channels, fan_in, generator=generator)
    index = torch.arange(samples * count)
    rows = torch.stack((2**32 - 1 - index % samples, 7 + 2**29 * (index // samples)), dim=-1)
    return [fields, weight, law, torch.tensor(0x7EDCBA9876543210), rows, PLACE]


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_the_bits_of_the_reference(shape, law):
    for samples in (1, 3):
        case = inputs(shape, law, samples)
        assert torch.equal(native.synapse(*case), synapses.noisy_sums(*case))


@pytest.mark.parametrize("law", [LAWS[1], LAWS[5], LAWS[6]], ids=repr)
@pytest.mark.parametrize("special", [torch.nan, torch.inf, -torch.inf, 1e38])
@pytest.mark.parametrize("where", [0, 1])
def test_no_silence_hides_what_is_no_number(where, special, law):
    case = inputs((2, 3, 2, 25, 6), law, samples=20)
    case[1 - where].mul_(100.0)  # 1e38 overflows with these
    case[where].view(-1)[7] = special
    sums = native.synapse(*case)
    assert torch.equal(sums.isnan(), synapses.noisy_sums(*case).isnan())
    assert torch.equal(sums.nan_to_num(), synapses.noisy_sums(*case).nan_to_num())
    assert not sums.isfinite().all()


@pytest.mark.usefixtures("instruction_set")
def test_every_bit_of_a_word_counts():
    # Limits next to a drawn word: one unit more or less shows.
    fields, weight, _, seed, rows, place = inputs((1, 1, 1, 64, 1), None)
    words = random.planes(seed, rows, 64, place)
    for word in words[0, :10].tolist():
        for limit in (word, word + 1):
            law = nsm.Bernoulli(limit / 2**32)
            assert law.limit == limit
            expected = synapses.noisy_sums(fields, weight, law, seed, rows, place)
            assert torch.equal(native.synapse(fields, weight, law, seed, rows, place), expected)
        sums = [
            native.synapse(fields, weight, nsm.Bernoulli(x / 2**32), seed, rows, place)
            for x in (word, word + 1)
        ]
        assert not torch.equal(*sums)


@pytest.mark.usefixtures("instruction_set")
def test_sums_are_pinned():
    # Changing the draw would silently change every published run at this fidelity.
    fields = torch.linspace(-1.0, 1.0, 70).view(1, 1, 1, 70)
    weight = torch.stack((torch.ones(70), torch.linspace(0.0, 2.0, 70)))
    rows, seed = torch.tensor([[0, 0], [1, 0]]), torch.tensor(5)
    found = [
        native.synapse(fields, weight, law, seed, rows, PLACE).flatten().tolist()
        for law in (nsm.Bernoulli(0.3), nsm.Gaussian(0.5), nsm.Measured([0.5, 1.0, 2.0]))
    ]
    assert found == GOLDEN


GOLDEN = [
    [0.6956517696380615, 4.630539894104004, 1.0, 8.968704223632812],
    [2.536158561706543, 20.389373779296875, -0.20923078060150146, 17.234817504882812],
    [1.9710146188735962, 25.469858169555664, 1.0217390060424805, 23.949800491333008],
]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_sums_do_not_depend_on_threads_or_batch(law):
    case = inputs((6, 9, 1, 130, 40), law, samples=2)
    before = torch.get_num_threads()
    try:
        drawn = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            drawn.append(native.synapse(*case))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    fields, weight, _, seed, rows, place = case
    alone = native.synapse(fields[3:4], weight, law, seed, rows[6:8], place)
    assert torch.equal(alone, drawn[0][6:8])


def test_plain_torch_draws_the_same_in_parts(monkeypatch):
    case = inputs((3, 4, 2, 25, 6), nsm.Gaussian(0.7), samples=2)
    expected = native.synapse(*case)
    monkeypatch.setenv("NSM_KERNELS", "off")
    for part in (1, 4000, 10**6):
        monkeypatch.setattr(synapse_module(), "_PART", part)
        assert torch.equal(native.synapse(*case), expected)


def synapse_module():
    import sys

    return sys.modules["nsm.native.synapse"]


def test_every_synapse_draws_for_itself():
    # One-hot weights show single factors: no two alike but by chance.
    fields, rows, seed = torch.ones(1, 3, 1, 70), torch.tensor([[0, 0], [1, 0], [0, 1]])[:2], torch.tensor(5)
    sums = native.synapse(fields, torch.eye(70), nsm.Gaussian(1.0), seed, rows, PLACE)
    assert len(sums.unique()) == sums.numel()


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("law", [LAWS[1], LAWS[5], LAWS[6]], ids=repr)
def test_registration_is_sound(monkeypatch, kernels, law):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    fields, weight, _, *others = inputs((2, 3, 2, 25, 6), law)
    described = synapse_module()._described(law)
    torch.library.opcheck(torch.ops.nsm.synapse.default, (fields, weight, described, *others))


def test_empty_inputs_give_empty_sums():
    for shape in itertools.product((0, 2), (0, 3)):
        case = inputs((*shape, 1, 5, 4), nsm.Bernoulli(0.5))
        assert native.synapse(*case).shape == (*shape, 4)
    assert torch.equal(native.synapse(*inputs((2, 3, 1, 0, 4), nsm.Bernoulli(0.5))), torch.zeros(2, 3, 4))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {0: torch.zeros(2, 3, 5)},
            ValueError,
            r"fields must have shape \(N, P, G, F\) and weight \(C, F\), got",
        ),
        ({1: torch.zeros(4, 6)}, ValueError, r"got \(2, 3, 2, 25\) and \(4, 6\)"),
        ({1: torch.zeros(5, 25)}, ValueError, "weight must have a multiple of the 2 groups' neurons, got 5"),
        ({0: torch.zeros(1, 1, 1, 1).expand(2, 2**28, 2, 25)}, ValueError, r"less than 2\^34 synapses"),
        ({3: torch.tensor(-1)}, ValueError, r"seed must be in \[0, 2\^63\), got -1"),
        ({4: torch.zeros(3, 2, dtype=torch.int64)}, ValueError, "multiple of the 2 inputs, got 3"),
        ({5: 2**32}, ValueError, r"place must be in \[0, 2\^32\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error, message):
    case = inputs((2, 3, 2, 25, 6), nsm.Bernoulli(0.5))
    for position, value in change.items():
        case[position] = value
    with pytest.raises(error, match=message):
        native.synapse(*case)
