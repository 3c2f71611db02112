"""UCF-101 in miniature: three classes, groups of two clips, real AVI files, flow computed or in .npy."""

import shutil

import numpy as np
import pytest
from media import brightness, grey_steps, write_video
from small_training import small_config

from bss.data.store import Store
from bss.datasets.splits import honest_rows
from bss.datasets.ucf_101 import DATASET
from bss.errors import BssError
from bss.stages.prepare import prepare
from tests.datasets import miniatures

CLASSES = ("ApplyEyeMakeup", "Archery", "YoYo")
NUMBERS = dict(zip(CLASSES, (1, 3, 101), strict=True))
GROUPS = {"train": (3, 4), "test": (1,)}


def clips(split):
    """Class, clip and number of frames: shorter and longer than the eight that are stored."""
    return [
        (label, f"v_{label}_g{group:02d}_c{clip:02d}", (6, 11)[clip - 1])
        for label in CLASSES
        for group in GROUPS[split]
        for clip in (1, 2)
    ]


def write_lists(root):
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    (folder / "classInd.txt").write_text("".join(f"{number} {label}\r\n" for label, number in NUMBERS.items()))
    train = [f"{label}/{clip}.avi {NUMBERS[label]}\r\n" for label, clip, _ in clips("train")]
    (folder / "trainlist01.txt").write_text("".join(train))
    (folder / "testlist01.txt").write_text("".join(f"{label}/{clip}.avi\r\n" for label, clip, _ in clips("test")))


def write_published(root):
    """Frame j has the brightness 20 + 10 j."""
    write_lists(root)
    for split in GROUPS:
        for label, clip, frames in clips(split):
            (root / "UCF-101" / label).mkdir(parents=True, exist_ok=True)
            write_video(root / "UCF-101" / label / f"{clip}.avi", grey_steps(frames))


published = miniatures.written_by(write_published)


def small(root, protocol="honest", **prepare_keys):
    """Return the small preset; two train samples of each class do for a val split."""
    pytest.importorskip("cv2")
    return small_config("ucf-101", root, protocol, val_share=0.5, **prepare_keys)


published_store = miniatures.store_of("published", lambda root: small(root, "published"))


def test_the_published_split_is_read_as_it_is_and_flow_is_computed(published_store):
    texts = ["train 12 of 9,537, test 6 of 3,783"]
    store = miniatures.require_store(*published_store, {"train": 12, "test": 6}, CLASSES, texts)
    assert store.read("flow", np.arange(18)).shape == (18, 8, 2, 40, 40)
    assert len((published_store[0] / "files.sha256").read_text().splitlines()) == 18  # both from one file


def test_the_frames_are_the_middle_ones_and_the_last_one_fills_up(published_store):
    store = Store.open(published_store[0])
    for i, (_, clip, frames) in enumerate(clips("train")):
        assert store.ids[i] == clip
        (stack,) = store.read("rgb", np.array([i]))
        wanted = {6: [0, 1, 2, 3, 4, 5, 5, 5], 11: range(1, 9)}[frames]
        np.testing.assert_allclose(brightness(stack), [20 + 10 * number for number in wanted], atol=3)


def test_flow_is_read_where_it_is_there(tmp_path):
    root = tmp_path / "UCF101"
    write_published(root)
    (root / "flow_data").mkdir()
    for i, (_, clip, frames) in enumerate(clips("train") + clips("test")):
        np.save(root / "flow_data" / f"{clip}.npy", np.full((frames - 1, 2, 40, 40), i, dtype=np.float32))
    prepare(small(root, "published"), root, tmp_path / "store")
    flow = Store.open(tmp_path / "store").read("flow", np.arange(18))
    np.testing.assert_array_equal(flow.reshape(18, -1), np.repeat(np.arange(18)[:, None], 8 * 2 * 40 * 40, axis=1))
    (root / "flow_data" / f"{clips('test')[0][1]}.npy").unlink()
    with pytest.raises(BssError, match=r"flow flow_data/v_ApplyEyeMakeup_g01_c01\.npy: file not found"):
        prepare(small(root, "published"), root, tmp_path / "again")


def test_the_honest_split_keeps_test_and_takes_whole_groups_for_val(published, tmp_path):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    assert left_out == 0
    assert {row["group"] for row in rows if row["split"] == "test"} == {f"v_{label}_g01" for label in CLASSES}
    store = miniatures.prepared(small(published), tmp_path)
    groups = {
        split: {str(id_)[: -len("_c01")] for id_ in store.ids[store.splits == split]}
        for split in ("train", "val", "test")
    }
    assert all(len(some) == 3 for some in groups.values())
    assert len(set.union(*groups.values())) == 9


@pytest.mark.slow
def test_every_stage_runs(published, tmp_path):
    miniatures.require_comparison(small(published, "published"), tmp_path)


def test_missing_and_broken_files_are_named_and_can_be_left_out(published, tmp_path):
    root = shutil.copytree(published, tmp_path / "UCF101")
    missing, broken = (f"UCF-101/{label}/{clip}.avi" for label, clip, _ in clips("train")[:2])
    (root / missing).unlink()
    (root / broken).write_bytes(b"RIFF\0\0\0\0AVI ")
    texts = (
        f"rgb {missing}: file not found; flow {missing}: file not found",
        f"rgb {broken}: not a readable video file",
    )
    miniatures.require_refused_then_skipped(
        small(root), small(root, "published", **miniatures.SKIP), tmp_path, 2, texts, 16
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("testlist01.txt", "", r"testlist01\.txt: empty"),
        ("testlist01.txt", "Archery/v_Archery.avi\n", r"testlist01\.txt: 1 problem\n  line 1: expected <class>/v_"),
        ("testlist01.txt", "Diving/v_Diving_g01_c01.avi\n", r"line 1: .* is not in ucfTrainTestlist/classInd\.txt"),
        ("trainlist01.txt", "Archery/v_Archery_g01_c01.avi 2\n", r"line 1: .* class or number that is not in"),
        ("classInd.txt", "1 Archery\nYoYo\n", r"classInd\.txt: 1 problem\n  line 2: expected <number> <class>"),
    ],
)
def test_lists_that_are_not_the_published_ones_are_refused_by_name(tmp_path, name, text, message):
    write_lists(tmp_path / "UCF101")
    (tmp_path / "UCF101" / "ucfTrainTestlist" / name).write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(tmp_path / "UCF101")
