import math

import pytest
import torch

from nsm.training import AugmentationConfig, augment, load_recipe, with_overrides

ALL = AugmentationConfig(shift=2.0, rotation=30.0, scale=0.2)


def transforms(config, examples, *, size=(8, 8), seed=0, epoch=0):
    return augment.transforms(config, torch.tensor(examples), size, seed=seed, epoch=epoch)


def test_nothing_asked_for_is_nothing_done():
    assert transforms(AugmentationConfig(), [0, 1]) is None


def test_a_transform_belongs_to_seed_epoch_and_example_whatever_the_batch():
    whole = transforms(ALL, list(range(50)))
    assert torch.equal(transforms(ALL, [7, 3, 49]), whole[[7, 3, 49]])
    assert len(torch.unique(whole.flatten(1), dim=0)) == 50
    assert not torch.equal(transforms(ALL, [7], epoch=1), whole[7:8])
    assert not torch.equal(transforms(ALL, [7], seed=1), whole[7:8])


def test_bounds_are_kept_and_reached():
    linear = transforms(ALL, list(range(5000)))[:, :, :2].double()
    scale = torch.linalg.det(linear).rsqrt()
    assert 0.8 <= scale.min() < 0.81
    assert 1.19 < scale.max() <= 1.2
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -30.001 <= angle.min() < -29
    assert 29 < angle.max() <= 30.001
    # The input position of the output's centre, moved by shift and then turned and scaled back.
    moved = torch.linalg.solve(linear, transforms(ALL, list(range(5000)))[:, :, 2].double()) * 4
    assert 1.95 < moved.abs().amax() <= 2.0001


def test_shift_moves_by_pixels_and_opens_zeros():
    images = torch.rand(1, 1, 6, 8)
    moved = augment.apply(images, torch.tensor([[[1.0, 0.0, -2.0 / 8 * 3], [0.0, 1.0, 0.0]]]))
    torch.testing.assert_close(moved[..., 3:], images[..., :-3], atol=1e-5, rtol=0)
    assert moved[..., :3].abs().max() < 1e-5


@pytest.mark.parametrize("size", [(8, 8), (6, 12)])
def test_rotation_keeps_right_angles_on_images_of_any_shape(size):
    height, width = size
    matrix = transforms(AugmentationConfig(rotation=40.0), [5], size=size)[0, :, :2].double()
    half = torch.diag(torch.tensor([width / 2, height / 2], dtype=torch.float64))
    pixels = half @ matrix @ torch.linalg.inv(half)
    torch.testing.assert_close(pixels @ pixels.T, torch.eye(2, dtype=torch.float64), atol=1e-6, rtol=0)
    assert abs(math.degrees(math.asin(pixels[1, 0]))) <= 40.0


def test_no_transform_leaves_the_image():
    images = torch.rand(3, 1, 8, 8)
    same = torch.eye(2, 3).expand(3, 2, 3)
    torch.testing.assert_close(augment.apply(images, same), images, atol=1e-6, rtol=0)


def test_rotations_turn_counter_clockwise_by_their_angle():
    images = torch.rand(1, 1, 8, 8)
    turned = augment.apply(
        images.expand(3, -1, -1, -1), augment.rotations(torch.tensor([0, 90, 180]), (8, 8))
    )
    expected = torch.cat([torch.rot90(images, quarter, dims=(2, 3)) for quarter in range(3)])
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


CUT = AugmentationConfig(crop=2, flip=True)


def windows(config, examples, *, seed=0, epoch=0):
    return augment.windows(config, torch.tensor(examples), seed=seed, epoch=epoch)


def test_no_window_is_cut_unless_asked_for():
    assert windows(ALL, [0, 1]) is None
    assert transforms(CUT, [0, 1]) is None


def test_a_window_belongs_to_seed_epoch_and_example_whatever_the_batch():
    whole = windows(CUT, list(range(50)))
    assert torch.equal(windows(CUT, [7, 3, 49]), whole[[7, 3, 49]])
    assert not torch.equal(windows(CUT, list(range(50)), epoch=1), whole)
    assert not torch.equal(windows(CUT, list(range(50)), seed=1), whole)


def test_every_window_is_as_probable_as_any_other():
    n = 50_000
    drawn = windows(CUT, list(range(n)))
    cells = (drawn[:, 0] * 5 + drawn[:, 1]) * 2 + drawn[:, 2]
    counts = cells.bincount(minlength=50).double()
    assert len(counts) == 50
    expected = n / 50
    assert float(((counts - expected) ** 2 / expected).sum()) < 100.0  # chi square of 49: 100 has p = 2e-5
    assert not windows(AugmentationConfig(crop=1), list(range(100)))[:, 2].any()
    assert not windows(AugmentationConfig(flip=True), list(range(100)))[:, :2].any()


def test_both_ways_round_are_shown_equally_often():
    shown = torch.stack([windows(CUT, list(range(3000)), epoch=epoch)[:, 2] for epoch in range(4)])
    assert torch.equal(shown[1], 1 - shown[0])
    assert torch.equal(shown[2:], shown[:2])
    assert 1300 < shown[0].sum() < 1700


@pytest.mark.parametrize("margin", ["black", "mirrored"])
@pytest.mark.parametrize("crop", [0, 2])
def test_windows_are_cut_as_one_by_one(crop, margin):
    images = torch.rand(40, 3, 6, 8)
    drawn = windows(AugmentationConfig(crop=crop, flip=True), list(range(40)))
    padded = torch.zeros(40, 3, 6 + 2 * crop, 8 + 2 * crop)
    for row in range(-crop, 6 + crop):
        for column in range(-crop, 8 + crop):
            # Of the pixels beyond an edge: what lies as far on its other side.
            inside = (5 - abs(5 - abs(row)), 7 - abs(7 - abs(column)))
            if margin == "mirrored" or inside == (row, column):
                padded[:, :, row + crop, column + crop] = images[:, :, *inside]
    expected = []
    for image, (top, left, mirrored) in zip(padded, drawn.tolist(), strict=True):
        part = image[:, top : top + 6, left : left + 8]
        expected.append(part.flip(-1) if mirrored else part)
    assert torch.equal(augment.cut(images, drawn, crop, margin), torch.stack(expected))


def test_a_mirrored_margin_is_narrower_than_the_image():
    recipe = load_recipe("digits")
    assert with_overrides(recipe, ["margin=mirrored", "crop=7"]).augmentation.crop == 7
    with pytest.raises(ValueError, match=r"augmentation\.crop must be smaller than the 8x8 images .* got 8"):
        with_overrides(recipe, ["margin=mirrored", "crop=8"])


def holes(cutout, examples, *, size=(6, 8), seed=0, epoch=0):
    config = AugmentationConfig(cutout=cutout)
    return augment.holes(config, torch.tensor(examples), size, seed=seed, epoch=epoch)


def test_a_hole_belongs_to_seed_epoch_and_example_whatever_the_batch():
    whole = holes(3, list(range(50)))
    assert holes(0, [0, 1]) is None
    assert torch.equal(holes(3, [7, 3, 49]), whole[[7, 3, 49]])
    assert not torch.equal(holes(3, list(range(50)), epoch=1), whole)
    assert not torch.equal(holes(3, list(range(50)), seed=1), whole)


def test_every_hole_is_as_probable_as_any_other():
    n = 24_000
    top, left = holes(3, list(range(n))).unbind(1)
    counts = (top * 6 + left).bincount(minlength=24).double()
    assert len(counts) == 24
    expected = n / 24
    assert float(((counts - expected) ** 2 / expected).sum()) < 62.0  # chi square of 23: 62 has p = 2e-5


def test_holes_are_left_out_as_one_by_one():
    images, hole = torch.rand(30, 3, 6, 8), holes(3, list(range(30)))
    expected = images.clone()
    for image, (top, left) in zip(expected, hole.tolist(), strict=True):
        mean = image.mean((1, 2))
        image[:, top : top + 3, left : left + 3] = mean[:, None, None]
    assert torch.equal(augment.left_out(images, hole, 3), expected)


def test_a_hole_is_smaller_than_the_image():
    recipe = load_recipe("digits")
    assert with_overrides(recipe, ["cutout=7"]).augmentation.cutout == 7
    with pytest.raises(ValueError, match=r"augmentation\.cutout must be smaller than the 8x8 images, got 8"):
        with_overrides(recipe, ["cutout=8"])
    with pytest.raises(ValueError, match=r"augmentation\.cutout must be at least 0 \(pixels\), got -1"):
        with_overrides(recipe, ["cutout=-1"])


def test_all_changes_of_an_example_are_made():
    config = AugmentationConfig(shift=1.0, crop=1, flip=True, cutout=2)
    images, examples = torch.rand(5, 1, 8, 8), torch.arange(5)
    changes = augment.changes(config, torch.arange(9), (1, 8, 8), seed=0, epoch=0)
    moved = augment.apply(images, transforms(config, list(range(5))))
    windowed = augment.cut(moved, windows(config, list(range(5))), 1, "black")
    expected = augment.left_out(windowed, holes(2, list(range(5)), size=(8, 8)), 2)
    assert torch.equal(changes.applied(images, examples, config), expected)
    nothing = augment.changes(AugmentationConfig(), examples, (1, 8, 8), seed=0, epoch=0)
    assert nothing.applied(images, examples, AugmentationConfig()) is images


def beginnings(early, examples, *, seed=0, epoch=0):
    return augment.beginnings(
        AugmentationConfig(early=early), torch.tensor(examples), 4, seed=seed, epoch=epoch
    )


def test_every_beginning_is_as_probable_as_any_other():
    assert beginnings(0.0, [0, 1]) is None
    counts = beginnings(0.6, list(range(30_000))).bincount(minlength=5).double()
    expected = 30_000 * torch.tensor([0.2, 0.2, 0.2, 0.4])
    assert counts[0] == 0
    assert float(((counts[1:] - expected) ** 2 / expected).sum()) < 26.0  # chi square of 3: 26 has p = 1e-5
    assert beginnings(1.0, list(range(1000))).unique().tolist() == [1, 2, 3]


def test_a_beginning_belongs_to_seed_epoch_and_example_whatever_the_batch():
    whole = beginnings(0.5, list(range(50)))
    assert torch.equal(beginnings(0.5, [7, 3, 49]), whole[[7, 3, 49]])
    assert not torch.equal(beginnings(0.5, list(range(50)), epoch=1), whole)
    assert not torch.equal(beginnings(0.5, list(range(50)), seed=1), whole)


def test_of_a_beginning_later_bins_are_empty():
    images = torch.rand(3, 4, 2, 2)
    expected = images.clone()
    expected[0, 1:], expected[1, 3:] = 0.0, 0.0
    assert torch.equal(augment.begun(images, torch.tensor([1, 3, 4])), expected)
    config = AugmentationConfig(early=1.0, crop=1)
    changes = augment.changes(config, torch.arange(3), (4, 2, 2), seed=0, epoch=0)
    moved = augment.cut(images, augment.windows(config, torch.arange(3), seed=0, epoch=0), 1, "black")
    cut_off = augment.begun(moved, augment.beginnings(config, torch.arange(3), 4, seed=0, epoch=0))
    assert torch.equal(changes.applied(images, torch.arange(3), config), cut_off)


def test_every_copy_has_its_turn():
    examples = torch.arange(3000)
    shown = torch.stack([augment.turns(3, examples, 0, epoch=epoch) for epoch in range(6)])
    assert torch.equal(shown[:3].sort(0).values, torch.arange(3)[:, None].expand(3, 3000))
    assert torch.equal(shown[3:], shown[:3])
    assert shown[0].bincount().min() > 850
    assert torch.equal(augment.turns(3, examples[[7, 3]], 0, epoch=4), shown[4, [7, 3]])
    assert not torch.equal(augment.turns(3, examples, 1, epoch=0), shown[0])
