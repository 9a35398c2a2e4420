import io

import numpy as np
import pytest
from PIL import Image

from nsm.report import Turned, rotations
from nsm.report.rotation import peaks, rotation

CLASSES = tuple("0123456789")


def turned(samples=5):
    degrees = np.arange(0.0, 181.0, 5.0)
    generator = np.random.Generator(np.random.Philox(0))
    probabilities = generator.dirichlet(np.ones(10) * 0.2, len(degrees))
    return Turned(
        degrees, generator.random((len(degrees), 8, 8)), probabilities, degrees / 100, degrees / 300, samples
    )


@pytest.mark.parametrize("samples", [1, 5])
def test_one_network_is_an_svg(samples):
    assert b"<svg" in rotation("NSM", turned(samples), CLASSES, 3)


def test_two_networks_are_one_picture():
    picture = rotations({"NSM": turned(), "Twin": turned(1)}, CLASSES, 3)
    with Image.open(io.BytesIO(picture)) as opened:
        assert opened.format == "PNG"
        assert opened.width > 2 * opened.height


def test_a_class_is_named_where_it_is_high_and_never_at_the_edge():
    assert peaks(np.array([0.9, 0.9, 0.1, 0.0, 0.0, 0.3, 0.6, 0.6, 0.6, 0.3, 0.0])) == [1, 7]
    assert peaks(np.array([0.0, 0.0, 0.0, 0.3, 0.9])) == [3]
    # One angle alone has no room for a name.
    assert peaks(np.array([0.0, 0.9, 0.0, 0.0])) == []
    assert peaks(np.zeros(5)) == []
    # And of many angles, two.
    assert peaks(np.repeat([0.0, 0.9, 0.0, 0.9], [40, 2, 27, 3])) == [70]
