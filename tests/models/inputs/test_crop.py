import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bss.config.crop import Crop
from bss.config.encoders import I3dConfig, ResNetConfig
from bss.data.store import Modality
from bss.errors import BssError
from bss.models.inputs import crop as crop_file
from bss.models.inputs.augmentation import (
    AREA,
    DRAWS,
    FIRST,
    FLIP,
    LEFT,
    RATIO,
    TOP,
    TRIES,
    Augmentation,
    of_each_frame,
)
from bss.models.inputs.crop import Cropped, random_resized, resize_in_one, resize_one_by_one
from bss.models.inputs.transform import build_crop

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
    """The part `box` (left, top, right, bottom) of `image` [channels, height, width], resized."""
    planes = [Image.fromarray(plane).crop(box or (0, 0, *plane.shape[::-1])) for plane in image]
    resized = [np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR)) for plane in planes]
    return np.stack(resized).astype(int)


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def each_way(request, monkeypatch):
    if request.param == "as on a GPU":
        monkeypatch.setattr(crop_file, "resize_one_by_one", resize_in_one)


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize(("height", "width"), [(7, 11), (20, 24), (33, 50), (1, 1), (5, 1), (1, 5), (40, 8)])
def test_the_whole_image_is_resized_as_pillow_does(height, width):
    image = picture(20, 24)
    resized = cropped(Crop(height, width), image[None])[0].numpy()
    assert np.abs(resized - pillow(image, height, width)).max() <= 1.01  # Pillow rounds, twice


@st.composite
def parts_of(draw, height, width):
    """Top, left, height, width, whether it is mirrored, first frame."""
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    size = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    return [top, left, *size, draw(st.booleans()), draw(st.integers(0, 1))]


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(parts_of(40, 52), min_size=1, max_size=4),
    st.integers(1, 60),
    st.integers(2, 60),
    st.sampled_from([1, 2, 3, 4, 5]),
    st.integers(0, 2**32),
)
def test_any_parts_are_cut_out_and_resized_as_pillow_does(parts, height, width, channels, seed):
    images = np.random.default_rng(seed).integers(0, 256, (len(parts), 3, channels, 40, 52)).astype(np.uint8)
    crop, numbers = Crop(height, width, frames=2), np.array(parts, dtype=np.float64)
    rounded = resize_one_by_one(torch.from_numpy(images), numbers, crop)
    exact = resize_in_one(torch.from_numpy(images), numbers, crop).numpy()
    assert rounded.dtype == torch.uint8
    assert rounded.shape == exact.shape == (len(parts), 2, channels, height, width)
    assert np.abs(rounded.numpy() - exact).max() <= 1.05
    for image, (top, left, down, across, mirrored, first), *found in zip(images, parts, rounded, exact, strict=True):
        for number in range(2):
            expected = pillow(image[first + number], height, width, (left, top, left + across, top + down))
            expected = expected[..., ::-1] if mirrored else expected
            assert np.abs(found[0][number].numpy() - expected).max() <= 2  # 1 but once in ten thousand images
            assert np.abs(found[1][number] - expected).max() <= 1.01  # Pillow rounds, twice


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(parts_of(14, 18), min_size=1, max_size=3), st.integers(1, 30), st.integers(2, 30))
def test_flow_is_resized_alike_on_cpu_and_gpu(parts, height, width):
    flow = np.random.default_rng(0).normal(0, 9, (len(parts), 3, 2, 14, 18)).astype(np.float16)
    ways = [
        resize(torch.from_numpy(flow), np.array(parts, dtype=np.float64), Crop(height, width, frames=2))
        for resize in (resize_one_by_one, resize_in_one)
    ]
    torch.testing.assert_close(*ways, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["image", "clip", "flow"])
def test_on_a_cpu_neither_other_samples_nor_the_number_of_threads_change_a_bit_of_a_part(kind):
    shape = {"image": (3, 70, 90), "clip": (4, 3, 70, 90), "flow": (4, 2, 70, 90)}[kind]
    images = np.random.default_rng(0).integers(0, 256, (9, *shape)).astype(np.float16 if kind == "flow" else np.uint8)
    drawn = Augmentation(0, "training", 0).draw(np.arange(9))
    crop = Crop(33, 41, frames=None if kind == "image" else 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = cropped(crop, images, drawn, kind)
    finally:
        torch.set_num_threads(threads)
    for index in (np.array([4]), np.array([8, 0, 8]), np.arange(9)[::-1].copy()):
        assert torch.equal(cropped(crop, images[index], drawn[index], kind), together[torch.from_numpy(index)])


def by_hand(uniform, height, width, scale, ratio):
    """RandomResizedCrop as torchvision documents it, drawing one number after the other."""
    for attempt in range(TRIES):
        area = height * width * (scale[0] + uniform[AREA][attempt] * (scale[1] - scale[0]))
        log = math.log(ratio[0]) + uniform[RATIO][attempt] * (math.log(ratio[1]) - math.log(ratio[0]))
        w, h = round(math.sqrt(area * math.exp(log))), round(math.sqrt(area / math.exp(log)))
        if 0 < w <= width and 0 < h <= height:
            return int(uniform[TOP] * (height - h + 1)), int(uniform[LEFT] * (width - w + 1)), h, w
    if width / height < min(ratio):
        w, h = width, max(1, round(width / min(ratio)))  # torchvision would return an empty part
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


@pytest.mark.usefixtures("each_way")
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


@pytest.mark.usefixtures("each_way")
def test_half_of_the_samples_are_mirrored_left_and_right():
    image = picture(4, 5)
    crop = Crop(4, 5, train="whole")
    np.testing.assert_array_equal(cropped(crop, image[None], draws(flip=0.4))[0], image[:, :, ::-1])
    np.testing.assert_array_equal(cropped(crop, image[None], draws(flip=0.6))[0], image)
    both = cropped(crop, [image, image], np.concatenate([draws(flip=0.1), draws(flip=0.7)]))
    np.testing.assert_array_equal(both, [image[:, :, ::-1], image])
    flips = Augmentation(0, "training", 0).draw(np.arange(2000))[:, FLIP] < 0.5
    assert flips.mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.usefixtures("each_way")
def test_evaluation_takes_the_whole_or_the_centre_and_draws_nothing():
    image = picture(7, 10)
    centre = cropped(Crop(3, 4, evaluation="centre"), [image, image])
    np.testing.assert_array_equal(centre, [image[:, 2:5, 3:7]] * 2)
    assert cropped(Crop(5, 5), [image, image]).shape == (2, 3, 5, 5)


@pytest.mark.usefixtures("each_way")
def test_all_frames_of_a_sample_are_cut_alike_and_a_run_of_them_is_taken():
    clips = np.stack([np.stack([picture(6, 6, seed=10 * i + j) for j in range(5)]) for i in range(2)])
    crop = Crop(4, 4, train="random", flip=False, frames=3)
    drawn = np.concatenate([draws(top=0.5, first=0.999), draws(left=0.999, first=0.4)])
    parts = cropped(crop, clips, drawn, "clip")
    np.testing.assert_array_equal(parts[0], clips[0, 2:, :, 1:5, :4])
    np.testing.assert_array_equal(parts[1], clips[1, 1:4, :, :4, 2:])
    np.testing.assert_array_equal(cropped(Crop(6, 6, frames=3), clips, kind="clip"), clips[:, 1:4])


@pytest.mark.usefixtures("each_way")
def test_each_frame_can_get_a_part_and_a_flip_of_its_own():
    frames = np.stack([np.stack([picture(20, 24, seed=i)] * 40) for i in range(2)])
    drawn = Augmentation(0, "training", 0).draw(np.array([3, 8]))
    crop = Crop(10, 12, "random-resized", per_frame=True)
    found = cropped(crop, frames, drawn, "frames")
    assert found.shape == (2, 40, 3, 10, 12)
    assert len(np.unique(found.numpy().reshape(80, -1), axis=0)) == 80
    # Each is the part that its own draws give, and those depend on the draws of its sample alone.
    own = of_each_frame(drawn, 40)
    stills = cropped(Crop(10, 12, "random-resized"), frames.reshape(80, 3, 20, 24), own)
    torch.testing.assert_close(found.flatten(0, 1), stills, rtol=0, atol=0)
    torch.testing.assert_close(cropped(crop, frames[1:], drawn[1:], "frames"), found[1:], rtol=0, atol=0)
    assert (own >= 0).all()
    assert (own < 1).all()
    assert abs(np.mean(own[:, FLIP] < 0.5) - 0.5) < 0.2
    torch.testing.assert_close(
        cropped(crop, frames, None, "frames"), cropped(Crop(10, 12), frames, None, "frames"), rtol=0, atol=0
    )


@pytest.mark.usefixtures("each_way")
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


def test_what_is_stored_too_small_for_a_part_is_reported():
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
