import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bss.config.crop import Crop
from bss.config.encoders import I3dConfig, ResNetConfig
from bss.data.store import Modality
from bss.errors import BssError
from bss.models.augmentation import AREA, DRAWS, FIRST, FLIP, LEFT, RATIO, TOP, TRIES, Augmentation
from bss.models.crop import Cropped, random_resized, resampling
from bss.models.transform import build_crop

WHOLE = {"train": "whole", "flip": False}


def picture(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width)).astype(np.uint8)


def draws(count=1, **columns):
    """Numbers that flip nothing and begin everywhere with 0."""
    drawn = np.zeros((count, DRAWS))
    drawn[:, FLIP] = 0.9
    for name, value in columns.items():
        drawn[:, {"top": TOP, "left": LEFT, "flip": FLIP, "first": FIRST}[name]] = value
    return drawn


def cropped(crop, images, drawn=None, kind="image"):
    images = torch.from_numpy(np.asarray(images))
    return Cropped(crop, kind, tuple(images.shape[1:]))(images, drawn)


def pillow(image, height, width, box=None):
    picture = Image.fromarray(image.transpose(1, 2, 0))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box)).transpose(2, 0, 1)


@pytest.mark.parametrize(("height", "width"), [(7, 11), (20, 24), (33, 50), (1, 1), (40, 8)])
def test_the_whole_image_is_resized_as_pillow_does(height, width):
    image = picture(20, 24)
    resized = cropped(Crop(height, width), image[None])[0].numpy()
    assert np.abs(resized - pillow(image, height, width)).max() <= 1.01  # Pillow rounds, twice


@given(st.floats(0, 14), st.floats(0, 18), st.floats(1, 20), st.floats(1, 24), st.integers(1, 30))
def test_a_part_is_resized_as_pillow_does_with_a_box(top, left, height, width, out):
    image = picture(20, 24)
    height, width = min(height, 20 - top), min(width, 24 - left)
    number = lambda x: torch.tensor([x], dtype=torch.float64)  # noqa: E731
    down = resampling(number(top), number(height), out, 20)[0].numpy()
    across = resampling(number(left), number(width), out + 3, 24)[0].numpy()
    expected = pillow(image, out, out + 3, (left, top, left + width, top + height))
    assert np.abs(down @ image.astype(np.float32) @ across.T - expected).max() <= 1.01


def by_hand(uniform, height, width, scale, ratio):
    """RandomResizedCrop as torchvision documents it, drawing one number after the other."""
    for attempt in range(TRIES):
        area = height * width * (scale[0] + uniform[AREA][attempt] * (scale[1] - scale[0]))
        log = math.log(ratio[0]) + uniform[RATIO][attempt] * (math.log(ratio[1]) - math.log(ratio[0]))
        w, h = round(math.sqrt(area * math.exp(log))), round(math.sqrt(area / math.exp(log)))
        if 0 < w <= width and 0 < h <= height:
            return int(uniform[TOP] * (height - h + 1)), int(uniform[LEFT] * (width - w + 1)), h, w
    if width / height < min(ratio):
        w, h = width, max(1, round(width / min(ratio)))  # torchvision would go on with an empty part
    elif width / height > max(ratio):
        w, h = max(1, round(height * max(ratio))), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([(0.08, 1.0), (0.9, 1.0), (1.0, 1.0), (0.01, 0.02)]),
    st.sampled_from([(0.75, 1.3333), (1.0, 1.0), (0.2, 0.3), (3.0, 5.0)]),
)
def test_random_resized_parts_follow_the_published_law(height, width, scale, ratio):
    drawn = Augmentation(1, "training", height).draw(np.arange(20))
    found = random_resized(drawn, height, width, scale, ratio)
    assert found.tolist() == [list(by_hand(uniform, height, width, scale, ratio)) for uniform in drawn]
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= [height, width]).all()
    assert (found[:, 2:] >= 1).all()


def test_areas_and_places_of_random_resized_parts_are_spread_over_all_that_is_allowed():
    drawn = Augmentation(0, "training", 0).draw(np.arange(4000))
    parts = random_resized(drawn, 200, 200, (0.25, 1.0), (1.0, 1.0))
    shares = parts[:, 2] * parts[:, 3] / 200**2
    assert np.quantile(shares, [0.25, 0.5, 0.75]) == pytest.approx([0.4375, 0.625, 0.8125], abs=0.02)
    room = 200 - parts[:, 2]
    assert (parts[:, 0] / np.maximum(room, 1))[room > 50].mean() == pytest.approx(0.5, abs=0.03)


def test_a_random_part_has_the_size_of_the_input_and_any_place():
    image = picture(6, 8)
    crop = Crop(4, 5, train="random", flip=False)
    np.testing.assert_array_equal(cropped(crop, image[None], draws())[0], image[:, :4, :5])
    np.testing.assert_array_equal(cropped(crop, image[None], draws(top=0.999, left=0.5))[0], image[:, 2:, 2:7])
    places = {tuple(x) for x in Cropped(crop, "image", image.shape)._drawn(draws(200) + 0)[:, :2].tolist()}
    assert places == {(0.0, 0.0)}
    drawn = Augmentation(0, "training", 0).draw(np.arange(300))
    places = {tuple(x) for x in Cropped(crop, "image", image.shape)._drawn(drawn)[:, :2].tolist()}
    assert places == {(float(top), float(left)) for top in range(3) for left in range(4)}


def test_half_of_the_samples_are_mirrored_left_and_right():
    image = picture(4, 5)
    crop = Crop(4, 5, train="whole")
    np.testing.assert_array_equal(cropped(crop, image[None], draws(flip=0.4))[0], image[:, :, ::-1])
    np.testing.assert_array_equal(cropped(crop, image[None], draws(flip=0.6))[0], image)
    both = cropped(crop, [image, image], np.concatenate([draws(flip=0.1), draws(flip=0.7)]))
    np.testing.assert_array_equal(both, [image[:, :, ::-1], image])
    flips = Augmentation(0, "training", 0).draw(np.arange(2000))[:, FLIP] < 0.5
    assert flips.mean() == pytest.approx(0.5, abs=0.04)


def test_evaluation_takes_the_whole_or_the_centre_and_draws_nothing():
    image = picture(7, 10)
    centre = cropped(Crop(3, 4, evaluation="centre"), [image, image])
    np.testing.assert_array_equal(centre, [image[:, 2:5, 3:7]] * 2)
    assert cropped(Crop(5, 5), [image, image]).shape == (2, 3, 5, 5)


def test_all_frames_of_a_sample_are_cut_alike_and_a_run_of_them_is_taken():
    clips = np.stack([np.stack([picture(6, 6, seed=10 * i + j) for j in range(5)]) for i in range(2)])
    crop = Crop(4, 4, train="random", flip=False, frames=3)
    drawn = np.concatenate([draws(top=0.5, first=0.999), draws(left=0.999, first=0.4)])
    parts = cropped(crop, clips, drawn, "clip")
    np.testing.assert_array_equal(parts[0], clips[0, 2:, :, 1:5, :4])
    np.testing.assert_array_equal(parts[1], clips[1, 1:4, :, :4, 2:])
    np.testing.assert_array_equal(cropped(Crop(6, 6, frames=3), clips, kind="clip"), clips[:, 1:4])


def test_mirrored_flow_goes_the_other_way_and_a_resized_one_is_as_fast_in_new_pixels():
    flow = np.zeros((1, 2, 2, 4, 8), dtype=np.float16)
    flow[:, :, 0], flow[:, :, 1] = 3, 5
    flow[:, :, 0, :, 0] = 7
    crop = Crop(4, 8, train="whole")
    plain, mirrored = (cropped(crop, flow, draws(flip=u), "flow") for u in (0.9, 0.1))
    np.testing.assert_array_equal(plain, flow)
    np.testing.assert_array_equal(mirrored[:, :, 0], -flow[:, :, 0, :, ::-1])
    np.testing.assert_array_equal(mirrored[:, :, 1], flow[:, :, 1])
    half = cropped(Crop(2, 2), flow[..., 1:], kind="flow")
    np.testing.assert_allclose(half[:, :, 0], 3 * 2 / 7, rtol=1e-5)
    np.testing.assert_allclose(half[:, :, 1], 5 * 2 / 4, rtol=1e-5)


def test_what_is_drawn_for_a_sample_depends_on_nothing_but_seed_purpose_epoch_and_its_row():
    augmentation = Augmentation(3, "training", 5)
    whole = augmentation.draw(np.arange(100))
    np.testing.assert_array_equal(augmentation.draw(np.array([70, 3, 99, 3])), whole[[70, 3, 99, 3]])
    assert whole.min() >= 0
    assert whole.max() < 1
    assert len(np.unique(whole)) == whole.size
    for other in (Augmentation(4, "training", 5), Augmentation(3, "measuring", 5), Augmentation(3, "training", 6)):
        assert not (other.draw(np.arange(100)) == whole).any()


def test_what_is_stored_too_small_for_a_part_is_told():
    modality = Modality("clip", (8, 3, 20, 24), "uint8", None)
    for crop, message in (
        (Crop(21, 10, train="random"), r"network\.encoders\.view\.crop\.height` must be at most the stored 20"),
        (Crop(10, 25, evaluation="centre"), r"crop\.width` must be at most the stored 24"),
        (Crop(10, 10, frames=9), r"crop\.frames` must be at most the stored 8"),
    ):
        with pytest.raises(BssError, match=message):
            build_crop(I3dConfig("i3d", crop=crop), modality, "view")
    image = Modality("image", (3, 20, 24), "uint8", None)
    with pytest.raises(BssError, match="must be null for kind image"):
        build_crop(ResNetConfig("resnet", crop=Crop(10, 10, frames=2)), image, "view")
    assert build_crop(ResNetConfig("resnet", crop=Crop(64, 64)), image, "view") is not None
    assert build_crop(ResNetConfig("resnet"), image, "view") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "`height` must be at least 1"),
        ({"scale": (0.5, 0.2)}, "`scale` must be two numbers"),
        ({"scale": (0.0, 1.0)}, "`scale` must be two numbers"),
        ({"ratio": (2.0, 1.0)}, "`ratio` must be two numbers"),
        ({"frames": 0}, "`frames` must be null or at least 1"),
    ],
)
def test_ranges_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        Crop(**{"height": 8, "width": 8} | change)
