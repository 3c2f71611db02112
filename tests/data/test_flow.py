import builtins

import numpy as np
import pytest
from media import grey_steps, write_video
from PIL import Image

from bss.config.modalities import FlowKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE, Span
from bss.errors import BssError


def decode(path, kind, span=WHOLE):
    return make_decoder(kind, path.parent, "motion")(path.name, span).array


def flow(count=3, **settings):
    return FlowKind("flow", frames=count, **({"height": 6, "width": 8} | settings))


def test_flow_files_have_frames_or_the_two_directions_first(tmp_path):
    array = np.random.default_rng(0).normal(size=(5, 2, 6, 8)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array.swapaxes(0, 1))
    for name in ("a.npy", "b.npy"):
        decoded = decode(tmp_path / name, flow())
        assert decoded.dtype == np.float16
        np.testing.assert_array_equal(decoded, array[1:4].astype(np.float16))
    np.testing.assert_array_equal(decode(tmp_path / "a.npy", flow(2), Span(3, 5)), array[3:].astype(np.float16))
    np.save(tmp_path / "two.npy", array[:2])
    np.testing.assert_array_equal(decode(tmp_path / "two.npy", flow(2)), array[:2].astype(np.float16))


def test_vectors_are_scaled_with_the_size(tmp_path):
    array = np.empty((1, 2, 12, 32), dtype=np.float32)
    array[:, 0], array[:, 1] = 8, 3
    np.save(tmp_path / "a.npy", array)
    decoded = decode(tmp_path / "a.npy", flow(1))
    np.testing.assert_array_equal(decoded[0, 0], np.full((6, 8), 2.0))
    np.testing.assert_array_equal(decoded[0, 1], np.full((6, 8), 1.5))


def test_broken_flow_files_are_reported(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((5, 6, 8)))
    np.save(tmp_path / "three.npy", np.zeros((5, 3, 6, 8)))
    np.save(tmp_path / "words.npy", np.full((1, 2, 6, 8), "a"))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.full((1, 2, 6, 8), np.nan))
    np.save(tmp_path / "large.npy", np.full((1, 2, 6, 8), 1e6))
    np.save(tmp_path / "none.npy", np.zeros((0, 2, 6, 8)))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").write_bytes(b"")
    with (tmp_path / "huge.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 2, 1000, 1000)}
        np.lib.format.write_array_header_1_0(file, header)
    cases = {
        "flat.npy": "has shape [5, 6, 8]; flow is [frames, 2, height, width]",
        "three.npy": "has shape [5, 3, 6, 8]; flow is",
        "words.npy": "not a .npy array of numbers",
        "pickle.npy": "not a .npy file of numbers",
        "nan.npy": "not finite",
        "large.npy": "overflow float16",
        "none.npy": "not a .npy array of numbers",
        "text.npy": "not a readable .npy file",
        "empty.npy": "file is empty",
        "missing.npy": "file not found",
        "huge.npy": "not a readable .npy file",
    }
    for name, message in cases.items():
        with pytest.raises(BadSampleError) as caught:
            decode(tmp_path / name, flow(1))
        assert message in str(caught.value), name


def moving_pattern(count, right, down):
    """A smooth pattern that moves by (right, down) pixels per frame, uint8 [count, 64, 64, 3]."""
    y, x = np.mgrid[:64, :64].astype(float)
    frames = []
    for i in range(count):
        u, v = x - right * i, y - down * i
        grey = 128 + 50 * np.sin(u / 5 + np.sin(v / 7)) + 50 * np.cos(v / 6)
        frames.append(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))
    return np.stack(frames)


def test_flow_is_computed_from_a_video_or_a_folder_of_images(tmp_path):
    pytest.importorskip("cv2")
    frames = moving_pattern(6, right=1.0, down=-0.5)
    write_video(tmp_path / "a.mkv", frames, codec="ffv1")
    (tmp_path / "a").mkdir()
    for number, pixels in enumerate(frames):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{number}.png")
    kind = flow(4, compute=True, height=64, width=64)
    computed = decode(tmp_path / "a.mkv", kind)
    assert (computed.shape, computed.dtype) == ((4, 2, 64, 64), np.float16)
    inner = computed[:, :, 16:-16, 16:-16].astype(float)
    np.testing.assert_allclose(inner.mean(axis=(2, 3)), np.tile([1.0, -0.5], (4, 1)), atol=0.1)
    np.testing.assert_array_equal(decode(tmp_path / "a", kind), computed)
    # Flow i leads from frame i to frame i + 1: six frames have five.
    with pytest.raises(BadSampleError, match="has 5 frames, but the manifest asks for frames 0 to 6"):
        decode(tmp_path / "a", kind, Span(0, 6))
    (last,) = decode(tmp_path / "a", flow(1, compute=True, height=64, width=64), Span(4, 5))
    filled = decode(tmp_path / "a", flow(3, compute=True, height=64, width=64), Span(4, 5))
    np.testing.assert_array_equal(filled, np.stack([last] * 3))


def test_a_npy_file_is_read_where_other_files_are_computed(tmp_path):
    pytest.importorskip("cv2")
    array = np.random.default_rng(0).normal(size=(4, 2, 5, 6)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    read = decode(tmp_path / "a.npy", flow(4, compute=True, height=5, width=6))
    np.testing.assert_array_equal(read, array.astype(np.float16))


def test_a_single_frame_has_no_flow(tmp_path):
    pytest.importorskip("cv2")
    write_video(tmp_path / "a.mkv", grey_steps(1), codec="ffv1")
    with pytest.raises(BadSampleError, match="only one frame"):
        decode(tmp_path / "a.mkv", flow(compute=True))


def test_without_opencv_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        BssError, match=r"prepare\.modalities\.motion\.compute: .* cv2 is not installed: run `pip install .*video"
    ):
        make_decoder(flow(compute=True), tmp_path, "motion")
