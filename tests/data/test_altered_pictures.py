"""What pictures, flow and features lose on their way into the store is counted."""

import struct
import zlib

import av
import numpy as np
import pytest
from conftest import write_manifest
from PIL import Image

from bss.config.modalities import ClipKind, FeaturesKind, FlowKind, FramesKind, ImageKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.store import Store
from bss.stages.prepare import prepare

GREY = ImageKind("image", height=1, width=4, channels=1)
RGB = ImageKind("image", height=1, width=2, channels=3)
FEATURES = FeaturesKind("features")


def altered(path, kind):
    """What was changed, without what was not."""
    decoded = make_decoder(kind, path.parent, "m")(path.name, WHOLE)
    return [tuple(entry) for entry in decoded.altered if entry.values]


def png(row, width, depth, colour):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_pixels_count_whose_lower_bits_add_something(suffix, tmp_path):
    pixels = np.array([[0, 0x1234, 0x8000, 0x4095]], dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    assert altered(tmp_path / f"a.{suffix}", GREY) == [("reduced from 16 bits to 8", 2, 0x4095)]
    for factor in (256, 257):  # how programs save 8 bits as 16
        eight = (np.array([[0, 3, 200, 255]]) * factor).astype(np.uint16)
        Image.fromarray(eight).save(tmp_path / f"b.{suffix}")
        assert altered(tmp_path / f"b.{suffix}", GREY) == []


def test_a_scan_of_12_bits_is_reported_with_its_peak(tmp_path):
    Image.fromarray(np.array([[0, 100, 4095, 7]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert altered(tmp_path / "a.png", GREY) == [("reduced from 16 bits to 8", 3, 4095)]


def test_colours_of_16_bits_all_count(tmp_path):
    row = struct.pack(">6H", 1, 2, 3, 0x1234, 5, 0xABCD)
    (tmp_path / "a.png").write_bytes(png(row, 2, 16, 2))
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n65535\n" + row)
    assert altered(tmp_path / "a.png", RGB) == [("reduced from 16 bits to 8", 6, 0xAB00)]
    ((what, values, largest),) = altered(tmp_path / "a.ppm", RGB)
    assert (what, values) == ("reduced from 16 bits to 8", 6)
    assert abs(largest - 0xABCD) <= 256


def test_jpeg_2000_of_12_bits_is_reported(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "a.jp2", irreversible=False)
    assert altered(tmp_path / "a.jp2", GREY) == [("reduced from 16 bits to 8", 64, 40_000)]
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "b.jp2")
    assert altered(tmp_path / "b.jp2", RGB) == []


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.bmp", "a.ppm", "a.tif"])
def test_images_of_8_bits_lose_nothing(name, tmp_path):
    Image.new("RGB", (2, 1), (9, 200, 255)).save(tmp_path / name)
    assert altered(tmp_path / name, RGB) == []


def write_10_bits(path, luma, frames=3):
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 20, 8, "yuv420p10le"
        for number in range(frames):
            frame = av.VideoFrame(20, 8, "yuv420p10le")
            for index, plane in enumerate(frame.planes):
                values = np.full(plane.buffer_size // 2, luma + number if index == 0 else 512, dtype="<u2")
                plane.update(values.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_video_of_10_bits_counts_each_value_of_each_frame_once(tmp_path):
    write_10_bits(tmp_path / "a.mkv", 700)
    one = 20 * 8 + 2 * 10 * 4  # luma and two planes of chroma
    size = {"height": 8, "width": 20}
    what = "reduced from 10 bits to 8"
    assert altered(tmp_path / "a.mkv", FramesKind("frames", count=3, **size)) == [(what, 3 * one, 702)]
    # Five of three frames: two are taken twice.
    assert altered(tmp_path / "a.mkv", ClipKind("clip", frames=5, **size)) == [(what, 3 * one, 702)]
    pytest.importorskip("cv2")
    assert altered(tmp_path / "a.mkv", FlowKind("flow", frames=1, compute=True, **size)) == [(what, 2 * one, 701)]


def test_the_images_of_a_folder_are_counted_together(tmp_path):
    (tmp_path / "f").mkdir()
    for number, value in enumerate((0x1234, 0x0055, 0x2000)):
        Image.fromarray(np.full((1, 4), value, dtype=np.uint16)).save(tmp_path / "f" / f"{number}.png")
    kind = FramesKind("frames", count=3, height=1, width=4, channels=1)
    assert altered(tmp_path / "f", kind) == [("reduced from 16 bits to 8", 8, 0x1234)]


COARSE = "rounded to float32, which has steps of 2 or more there"
ZERO = "rounded to 0: float32 ends at 1e-45"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 2**24, 2**24 + 1, 2**24 + 2, -(2**24) - 1]), [(COARSE, 2, 2**24 + 1)]),
        (np.array([-(2**63), 2**40 + 1]), [(COARSE, 1, 2**40 + 1)]),
        (np.array([255, 3], dtype=np.uint8), []),
        (np.array([True, False]), []),
        (np.array([0.1, 1 / 3, -2.5e-3]), []),  # the type's precision
        (np.array([1_700_000_001.5, 16_000_000.25]), [(COARSE, 1, 1_700_000_001.5)]),  # seconds since 1970
        (np.array([1e-300, 0, 1.0, -1e-60]), [(ZERO, 2, 1e-60)]),
        (np.array([1e30, 1e-300], dtype=np.float32), []),
    ],
)
def test_features_that_lose_whole_numbers_or_become_zero_are_counted(values, expected, tmp_path):
    np.save(tmp_path / "a.npy", values)
    assert altered(tmp_path / "a.npy", FEATURES) == expected


def test_numbers_beyond_the_type_are_refused_with_their_peak(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, -1e300]))
    limit = "holds values that overflow float32: the largest is 1e\\+300, the limit 3.40282e\\+38; scale them"
    with pytest.raises(BadSampleError, match=limit):
        altered(tmp_path / "a.npy", FEATURES)
    np.save(tmp_path / "f.npy", np.full((1, 2, 3, 3), 70_000.0))
    limit = "holds values that overflow float16: the largest is 70000, the limit 65504; scale them"
    with pytest.raises(BadSampleError, match=limit):
        altered(tmp_path / "f.npy", FlowKind("flow", frames=1, height=3, width=3))


def test_flow_that_float16_holds_coarsely_is_counted(tmp_path):
    flow = np.zeros((1, 2, 2, 3), dtype=np.float32)
    flow[0, 0] = [[3000.5, 2048, 0.1], [-4099, 1e-9, 12.25]]
    np.save(tmp_path / "a.npy", flow)
    assert altered(tmp_path / "a.npy", FlowKind("flow", frames=1, height=2, width=3)) == [
        ("rounded to float16, which has steps of 2 or more there", 2, 4099),
        ("rounded to 0: float16 ends at 6e-08", 1, pytest.approx(1e-9)),
    ]


def test_prepare_reports_pictures_of_16_bits(own_root, tree, make_config, tmp_path, capsys):
    root, rows = own_root
    name = rows[3]["image"]
    pixels = np.zeros((6, 6), dtype=np.uint16)
    pixels[0, :2] = 4095, 17
    Image.fromarray(pixels).save(root / name)
    write_manifest(root, rows)
    tree["prepare"] |= {"root": str(root)}
    prepare(make_config(tree), root, tmp_path / "store")
    expected = f"image: 2 values in 1 samples were reduced from 16 bits to 8; the largest was 4095, in {name}"
    assert f"Caution: {expected}.\n" in capsys.readouterr().out
    assert set(Store.open(tmp_path / "store").altered) == {"image"}
