import io
import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from nsm.cli import app
from nsm.studies import digits
from tests.report.html import Page, assert_self_contained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "runs"


@pytest.fixture(scope="module")
def found(folder):
    return digits.run(folder, epochs=2, quiet=True)


def test_the_table_compares_nsm_and_twin(found):
    assert [(row["model"], row["samples"]) for row in found.rows] == [("nsm", 100), ("nsm", 1), ("twin", 1)]
    nsm, one, twin = found.rows
    assert nsm["error_percent"] <= one["error_percent"] < 90
    # The NSM has a gain for each of its 256 + 128 hidden neurons.
    assert nsm["parameters"] - twin["parameters"] == 384
    assert {row["epochs"] for row in found.rows} == {2}


def test_the_page_shows_both_on_the_same_images(found):
    page = Page(found.report.read_text())
    assert_self_contained(page)
    # Two of the turned digit, two of learning, and three sure and nine unsure images.
    assert len(page.images) == 16
    for row in found.rows:
        name = "NSM" if row["model"] == "nsm" else "Twin"
        assert [name, str(row["samples"]), f"{row['error_percent']:.2f}"] in [
            cells[:3] for cells in page.cells
        ]


def test_an_upright_digit_is_the_test_image_itself(found):
    side = found.comparison.sides[0]
    images = found.comparison.images
    first = images.images[images.targets == found.comparison.target][0, 0] / 255
    assert side.turned.images[0] == pytest.approx(first.numpy(), abs=1e-6)
    assert side.turned.degrees[[0, -1]].tolist() == [0, 180]
    assert side.turned.images[-1] == pytest.approx(first.flip(0, 1).numpy(), abs=1e-5)


def test_one_answer_disagrees_with_nothing(found):
    nsm, twin = (side.turned for side in found.comparison.sides)
    assert (nsm.mutual_information.max() > 0.01, twin.mutual_information.max()) == (True, 0)
    assert (nsm.samples, twin.samples) == (100, 1)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_uses_what_was_trained_and_leaves_other_files_alone(found, folder, tmp_path):
    (folder / "mine.txt").write_text("a user's file")
    before = contents(folder)
    picture = tmp_path / "new" / "picture.png"
    command = ["reproduce", "digits", "--runs", folder, "--epochs", "2", "--json", "--picture", picture]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"study": "digits", "rows": found.rows}
    after = contents(folder)
    assert set(before) == set(after)
    # Page and results name the command that wrote them; the order inside a checkpoint's header is any.
    rewritten = {path.name for path in before if before[path] != after[path]}
    assert rewritten <= {"report.html", "results.json", "checkpoint.safetensors"}
    assert json.loads((folder / "results.json").read_text())["rows"] == found.rows
    with Image.open(io.BytesIO(picture.read_bytes())) as opened:
        assert opened.format == "PNG"


@pytest.mark.usefixtures("found")
def test_another_configuration_gets_its_own_folders(folder):
    names = {digits.run_folder(folder, digits.configuration("nsm", epochs=n)) for n in (2, 3, None)}
    assert len(names) == 3
    assert digits.run_folder(folder, digits.configuration("nsm", epochs=2)).is_dir()
