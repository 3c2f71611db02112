"""NVGesture in miniature: three classes, six subjects, real AVI files of two cameras, flow computed or in .npy."""

import shutil
from collections import Counter

import numpy as np
import pytest
from media import brightness, grey_steps, write_video
from small_training import small_config

from bss.data.store import Store
from bss.datasets.nvgesture import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.stages.prepare import prepare
from tests.datasets import miniatures

FRAMES = 12
SUBJECTS = {"train": (3, 7, 10, 13), "test": (1, 20)}
MODALITIES = ("rgb", "flow", "depth")


def gestures(split):
    """Label, subject and the first frames of colour and depth; the labels 2, 3 and 10, as of names with zeros."""
    return [
        (label, subject, number % 3, 1 + number % 2)
        for number, (subject, label) in enumerate((s, c) for s in SUBJECTS[split] for c in (10, 2, 3))
    ]


def folder_of(label, subject):
    return f"Video_data/class_{label:02d}/subject{subject}_r0"


def write_lists(root):
    """As published: the order of the sensors differs, and there are sensors that nothing reads."""
    root.mkdir(parents=True)
    for split in SUBJECTS:
        lines = [
            f"path:./{folder_of(label, subject)} depth:sk_depth:{depth}:{depth + 8} color:sk_color:{color}:{color + 8} "
            f"duo_left:duo_left:{depth}:{depth + 8} label:{label} \n"
            for label, subject, color, depth in gestures(split)
        ]
        (root / f"nvgesture_{split}_correct_v2.lst").write_text("".join(lines))


def drifting(count, height=32, width=48):
    """A smooth pattern that moves by one pixel to the right per frame, each frame brighter by 4 than the last."""
    y, x = np.mgrid[:height, :width].astype(float)
    frames = [100 + 4 * i + 30 * np.sin((x - i) / 4 + np.sin(y / 5)) for i in range(count)]
    return np.repeat(np.stack(frames).astype(np.uint8)[..., None], 3, axis=3)


def write_published(root):
    """Frame j of depth has the brightness 20 + 10 j."""
    write_lists(root)
    for split in SUBJECTS:
        for label, subject, *_ in gestures(split):
            folder = root / folder_of(label, subject)
            folder.mkdir(parents=True)
            write_video(folder / "sk_color.avi", drifting(FRAMES))
            write_video(folder / "sk_depth.avi", grey_steps(FRAMES))


def write_flow(root):
    """The flow of line i moves by i / 8 to the right, eight times."""
    for split in SUBJECTS:
        (root / "flow_data" / split).mkdir(parents=True)
        for i in range(len(gestures(split))):
            array = np.zeros((8, 2, 40, 40), dtype=np.float32)
            array[:, 0] = i / 8
            array[0, 0, 0, :2] += (len(split), -len(split))  # lines 0 of train and test are two files, moving alike
            np.save(root / "flow_data" / split / f"{i}.npy", array)


published = miniatures.written_by(write_published)


@pytest.fixture(scope="module")
def with_flow(published, tmp_path_factory):
    root = shutil.copytree(published, tmp_path_factory.mktemp("nv") / "NVGesture")
    write_flow(root)
    return root


def small(root, protocol="honest", compute=True, **prepare_keys):
    """Return the small preset; two train samples of each class do for a val split."""
    if compute:
        pytest.importorskip("cv2")
    config = small_config("nvgesture", root, protocol, val_share=0.5, **prepare_keys)
    if not compute:
        kinds = config.prepare.modalities
        kinds["flow"] = type(kinds["flow"])(**(vars(kinds["flow"]) | {"compute": False}))
    return config


published_store = miniatures.store_of("with_flow", lambda root: small(root, "published", compute=False))


@pytest.mark.slow
def test_the_published_split_has_labels_from_one_in_the_order_of_numbers(published_store):
    folder, printed = published_store
    store = Store.open(folder)
    assert Counter(store.splits.tolist()) == {"train": 12, "test": 6}
    assert store.classes == ("2", "3", "10")
    assert store.ids[0] == "class_10/subject3_r0"
    assert "train 12 of 1,050, test 6 of 482" in printed
    assert "unused columns" not in printed


def test_each_sensor_is_read_from_its_own_part_of_its_file(published_store):
    store = Store.open(published_store[0])
    for i, (label, subject, color, depth) in enumerate(gestures("train")):
        assert store.ids[i] == f"class_{label:02d}/subject{subject}_r0"
        (rgb,), (near,) = (store.read(name, np.array([i])) for name in ("rgb", "depth"))
        assert (rgb.shape, near.shape) == ((8, 3, 40, 40), (8, 3, 40, 40))
        np.testing.assert_allclose(brightness(near), 20 + 10 * np.arange(depth, depth + 8), atol=3)
        np.testing.assert_allclose(brightness(rgb), 100 + 4 * np.arange(color, color + 8), atol=3)


@pytest.mark.slow
def test_flow_is_that_of_the_line_where_it_is_there(with_flow, tmp_path):
    for protocol in ("published", "honest"):
        prepare(small(with_flow, protocol), with_flow, tmp_path / protocol)  # `compute` reads .npy files too
        store = Store.open(tmp_path / protocol)
        flow = store.read("flow", np.arange(18)).astype(float)
        np.testing.assert_allclose(flow[:, :, 0].mean(axis=(1, 2, 3)), [*np.arange(12) / 8, *np.arange(6) / 8])
        assert not flow[:, :, 1].any()


def test_flow_is_computed_from_the_colour_frames_where_it_is_not_there(published, tmp_path):
    prepare(small(published, "published"), published, tmp_path / "store")
    flow = Store.open(tmp_path / "store").read("flow", np.arange(18)).astype(float)
    assert flow.shape == (18, 8, 2, 40, 40)
    np.testing.assert_allclose(flow[:, :, 0].mean(axis=(1, 2, 3)), 40 / 48, atol=0.4)  # pixels of the stored size
    assert np.abs(flow[:, :, 1].mean()) < 0.3
    np.testing.assert_array_equal(flow[:, 7], flow[:, 6])  # eight frames have seven flows: the last one is repeated
    rows = DATASET.read(published)
    assert all(int(row["flow_end"]) == int(row["rgb_end"]) - 1 for row in rows)


def test_the_honest_split_keeps_test_and_takes_whole_subjects_for_val(with_flow, tmp_path):
    rows, left_out = honest_rows(DATASET.read(with_flow), DATASET.honest)
    assert left_out == 0
    assert {row["group"] for row in rows if row["split"] == "test"} == {"subject1", "subject20"}
    store = miniatures.prepared(small(with_flow, compute=False), tmp_path)
    subjects = {
        split: {str(id_).split("/")[1] for id_ in store.ids[store.splits == split]}
        for split in ("train", "val", "test")
    }
    assert all(len(some) == 2 for some in subjects.values())
    assert len(set.union(*subjects.values())) == 6


@pytest.mark.slow
def test_every_stage_runs_with_three_modalities(with_flow, tmp_path):
    report = miniatures.require_comparison(small(with_flow, compute=False), tmp_path)
    page = (report / "report.html").read_text()
    assert all(name in page for name in MODALITIES)


@pytest.mark.slow
def test_missing_and_broken_files_are_named_and_can_be_left_out(with_flow, tmp_path):
    root = shutil.copytree(with_flow, tmp_path / "NVGesture")
    missing, broken, short = (folder_of(*gesture[:2]) for gesture in gestures("train")[:3])
    (root / missing / "sk_color.avi").unlink()
    (root / broken / "sk_depth.avi").write_bytes(b"RIFF\0\0\0\0AVI ")
    write_video(root / short / "sk_depth.avi", grey_steps(4))
    (root / "flow_data" / "train" / "3.npy").write_bytes(b"no numbers")
    texts = (
        f"rgb {missing}/sk_color.avi: file not found",
        f"depth {broken}/sk_depth.avi: not a readable video file",
        f"depth {short}/sk_depth.avi: has 4 frames, but the manifest asks for frames 1 to 9",
        "flow flow_data/train/3.npy: not a readable .npy file",
    )
    config, skipping = small(root, compute=False), small(root, "published", compute=False, **miniatures.SKIP)
    miniatures.require_refused_then_skipped(config, skipping, tmp_path, 4, texts, 14)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", r"nvgesture_test_correct_v2\.lst: empty"),
        ("path:./Video_data/class_01/subject1_r0 color:sk_color:0:8 label:1", "line 1: expected path:"),
        ("path:./a/b color:sk_color:0:8 depth:sk_depth:0:8 label:1", "line 1: expected path:"),
        ("path:./a/subject1_r0 color:sk_color:0:8 depth:sk_depth:0:8 label:0", "label:<1 to 25>, found .* label:0"),
        ("path:./a/subject1_r0 color:sk_color:0:8 depth:sk_depth:0:8 label:26", "label:<1 to 25>, found .* label:26"),
        ("path:./a/subject1_r0 color:sk_color:8:8 depth:sk_depth:0:8 label:1", "line 1: expected path:"),
        ("path:./a/subject1_r0 color:sk_color:0 depth:sk_depth:0:8 label:1", "line 1: expected path:"),
    ],
)
def test_a_line_that_is_not_a_gesture_is_refused_by_number(tmp_path, line, message):
    write_lists(tmp_path / "NVGesture")
    (tmp_path / "NVGesture" / "nvgesture_test_correct_v2.lst").write_text(f"{line}\n")
    with pytest.raises(BssError, match=message):
        DATASET.read(tmp_path / "NVGesture")


def test_flow_that_is_numbered_from_one_is_refused(tmp_path):
    root = tmp_path / "NVGesture"
    write_lists(root)
    write_flow(root)
    DATASET.read(root)
    (root / "flow_data" / "test" / "0.npy").rename(root / "flow_data" / "test" / "6.npy")
    with pytest.raises(BssError, match=r"flow_data/test/6\.npy: one file too many: .* numbered from 0"):
        DATASET.read(root)
