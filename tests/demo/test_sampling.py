import re

import numpy as np
import pytest
import torch

from nsm import models, predict
from nsm.demo.latest import Latest
from nsm.demo.sampling import NOT_SURE, Look, answer, looks
from nsm.demo.turning import all_angles, turned
from nsm.inference import Prediction, Reason

CLASSES = tuple("0123456789")


def net(model="nsm"):
    torch.manual_seed(0)
    return models.build("digits-mlp", model=model).eval()


def image():
    return torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_votes_are_those_of_the_prediction():
    seen = list(looks(net(), image(), confidence=0.99, most=40, seed=3))
    last = seen[-1]
    assert [len(look.votes) for look in seen] == [int(look.prediction.samples_used[0]) for look in seen]
    assert all(look.votes == last.votes[: len(look.votes)] for look in seen)
    whole = predict(net(), image()[None], samples=len(last.votes), seed=3, votes=True)
    assert whole.votes[0].argmax(1).tolist() == list(last.votes)
    torch.testing.assert_close(whole.probabilities, last.prediction.probabilities)
    settled = predict(net(), image()[None], confidence=0.99, max_samples=40, seed=3)
    assert int(settled.samples_used[0]) == len(last.votes)
    assert last.milliseconds > 0


def test_a_network_that_draws_nothing_votes_once():
    (look,) = looks(net("twin"), image(), confidence=0.99, most=40, seed=0)
    assert look.reason is Reason.EXACT
    assert len(look.votes) == 1
    assert "nothing is drawn" in answer(look, CLASSES, least=0.0).sentence


def look(probabilities, reason, samples=5):
    probabilities = torch.tensor([probabilities])
    zero = torch.zeros(1)
    used = torch.tensor([samples])
    return Look(
        Prediction(probabilities, zero, zero, zero, used, None, torch.tensor([int(reason)])),
        (0,) * samples,
        1.0,
    )


@pytest.mark.parametrize(
    ("probabilities", "reason", "headline", "sentence"),
    [
        ([0.7, 0.2, 0.1], Reason.SETTLED, "a", "a with 70.0 %: settled after 5 samples."),
        ([0.4, 0.35, 0.25], Reason.SETTLED, NOT_SURE, "a with 40.0 % leads \\(settled .* below 50.0 %\\."),
        (
            [0.7, 0.2, 0.1],
            Reason.LIMIT,
            NOT_SURE,
            "a with 70.0 %, b with 20.0 %: 5 samples do not settle it.",
        ),
        (
            [0.7, 0.2, 0.1],
            Reason.FUTILE,
            NOT_SURE,
            "a with 70.0 %, b with 20.0 %: 5 samples do not settle it.",
        ),
        ([0.7, 0.2, 0.1], Reason.RUNNING, "…", "a with 70.0 %, b with 20.0 %: still asking."),
    ],
)
def test_an_answer_is_given_where_it_is_settled_and_probable(probabilities, reason, headline, sentence):
    said = answer(look(probabilities, reason), ("a", "b", "c"), least=0.5)
    assert said.headline == headline
    assert said.sure == (headline == "a")
    assert re.fullmatch(sentence, said.sentence)


def test_all_angles_are_those_of_single_ones():
    around = all_angles(net(), image(), seed=0)
    assert around.degrees[[0, -1]].tolist() == [-180.0, 180.0]
    assert np.allclose(around.images[36], image()[0])
    assert around.entropy.shape == (73,)
    quarter = turned(image(), torch.tensor([90.0]))[0]
    torch.testing.assert_close(quarter, torch.rot90(image(), 1, (1, 2)), atol=1e-5, rtol=0)


def test_a_newer_question_ends_the_older():
    latest = Latest()
    first = latest.take()
    assert latest.is_(first)
    second = latest.take()
    assert not latest.is_(first)
    assert latest.is_(second)
