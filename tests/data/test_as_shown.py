"""Pictures and videos are stored as viewers and players show them: transparent ones on white, turned ones upright."""

import io
import shutil
import struct
import subprocess
import zlib

import av
import numpy as np
import pytest
from media import write_video
from PIL import Image, ImageDraw, ImageOps

from bss.config.modalities import ClipKind, FlowKind, FramesKind, ImageKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.display import orientation
from bss.data.decode.spans import WHOLE
from bss.init.column_facts import look


def decode(path, kind):
    return make_decoder(kind, path.parent, "m")(path.name, WHOLE).array


def rgb(path, height, width):
    """The stored pixels as uint8 [height, width, 3]."""
    return decode(path, ImageKind("image", height=height, width=width, channels=3)).transpose(1, 2, 0)


def drawing():
    """A black disc with a half-transparent red square over it on nothing, and noise under the nothing, RGBA."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 24, 4), dtype=np.uint8)
    noise[..., 3] = 0
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    pen.ellipse((6, 6, 18, 25), fill=(0, 0, 0, 255))
    pen.rectangle((2, 2, 9, 9), fill=(200, 0, 0, 128))
    return image


def on_white(image):
    """By the definition: alpha of the colour, the rest white; float [height, width, 3]."""
    pixels = np.asarray(image.convert("RGBA")).astype(float)
    alpha = pixels[..., 3:] / 255
    return alpha * pixels[..., :3] + (1 - alpha) * 255


TRANSPARENT = {
    "rgba.png": lambda image, path: image.save(path),
    "la.png": lambda image, path: image.convert("LA").save(path),
    "rgba.webp": lambda image, path: image.save(path, lossless=True, exact=True),
    "rgba.tif": lambda image, path: image.save(path),
    "la.tif": lambda image, path: image.convert("LA").save(path),
    "palette.png": lambda image, path: image.quantize(16).save(path),
    "rgba.jp2": lambda image, path: image.save(path, irreversible=False),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_a_transparent_image_is_laid_on_white(name, tmp_path):
    image = drawing()
    TRANSPARENT[name](image, tmp_path / name)
    with Image.open(tmp_path / name) as opened:
        straight = opened.convert("RGBA")
    composite = Image.alpha_composite(Image.new("RGBA", straight.size, "white"), straight).convert("RGB")
    decoded = rgb(tmp_path / name, 32, 24)
    np.testing.assert_array_equal(decoded, np.asarray(composite))
    assert np.all(decoded[0, 23] == 255)
    assert np.all(decoded[20, 12] == 0)
    if not name.startswith("palette"):
        grey = image.convert("LA") if name.startswith("la") else image
        assert np.abs(decoded - on_white(grey)).max() <= 1


def test_a_transparent_image_is_grey_on_white_too(tmp_path):
    drawing().save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png", ImageKind("image", height=32, width=24, channels=1))[0]
    assert (decoded[0, 23], decoded[20, 12]) == (255, 0)


def test_a_gif_shows_white_where_it_is_transparent_and_outside_its_first_frame(tmp_path):
    black = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    ImageDraw.Draw(black).ellipse((6, 6, 25, 25), fill=(0, 0, 0, 255))
    green = Image.new("RGBA", (32, 32), (0, 250, 0, 255))
    black.save(tmp_path / "one.gif")
    black.save(tmp_path / "animated.gif", save_all=True, append_images=[green], duration=100)
    for name in ("one.gif", "animated.gif"):
        np.testing.assert_array_equal(rgb(tmp_path / name, 32, 32), on_white(black))
    # A screen of 3 x 2 with one black pixel at (1, 0).
    gif = b"GIF89a" + struct.pack("<HHBBB", 3, 2, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 1, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"
    (tmp_path / "part.gif").write_bytes(gif)
    assert rgb(tmp_path / "part.gif", 2, 3)[..., 0].tolist() == [[255, 0, 255], [255, 255, 255]]


def test_an_animation_with_alpha_gives_its_first_frame_on_white(tmp_path):
    frames = [drawing(), Image.new("RGBA", (24, 32), (0, 250, 0, 255))]
    for name, options in (("a.webp", {"lossless": True, "exact": True}), ("a.png", {})):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, **options)
        assert np.abs(rgb(tmp_path / name, 32, 24) - on_white(frames[0])).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_tiff_with_premultiplied_alpha_is_not_darkened_twice(mode, tmp_path):
    """Tag 338 (ExtraSamples): 1 is associated alpha, colours multiplied by it already; 2 is unassociated."""
    image = drawing().convert(mode)
    pixels = np.asarray(image).astype(float)
    pixels[..., :-1] = np.round(pixels[..., :-1] * pixels[..., -1:] / 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8), mode).save(buffer, "TIFF")
    straight, associated = (struct.pack("<HHII", 338, 3, 1, value) for value in (2, 1))
    data = buffer.getvalue()
    assert data.count(straight) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(straight, associated))
    assert np.abs(rgb(tmp_path / "a.tif", 32, 24) - on_white(image)).max() <= 2


def png(rows, width, depth, colour, *chunks):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    more = b"".join(chunk(*c) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "row", "key", "stored"),
    [
        (1, b"\x50", 0, [255, 255, 255, 255]),  # 0 1 0 1
        (2, b"\x1b", 2, [0, 85, 255, 255]),  # 0 1 2 3
        (4, b"\x05\xaf", 5, [0, 255, 170, 255]),
        (8, bytes([5, 6, 7, 6]), 6, [5, 255, 7, 255]),
        (16, bytes([18, 52, 18, 53, 0, 6, 18, 52]), 0x1234, [255, 18, 0, 255]),
    ],
)
def test_the_transparent_value_of_a_grey_png_is_compared_at_its_own_depth(depth, row, key, stored, tmp_path):
    (tmp_path / "a.png").write_bytes(png([row], 4, depth, 0, (b"tRNS", struct.pack(">H", key))))
    assert rgb(tmp_path / "a.png", 1, 4)[0].tolist() == [[value] * 3 for value in stored]


def test_the_transparent_colour_of_a_png_and_the_alpha_of_its_palette(tmp_path):
    key = struct.pack(">HHH", 1, 2, 3)
    (tmp_path / "a.png").write_bytes(png([bytes([1, 2, 3, 1, 2, 4])], 2, 8, 2, (b"tRNS", key)))
    assert rgb(tmp_path / "a.png", 1, 2)[0].tolist() == [[255, 255, 255], [1, 2, 4]]
    palette = (b"PLTE", bytes([200, 0, 0, 0, 0, 0, 9, 9, 9])), (b"tRNS", bytes([0, 51]))
    (tmp_path / "p.png").write_bytes(png([bytes([0, 1, 2])], 3, 8, 3, *palette))
    assert rgb(tmp_path / "p.png", 1, 3)[0].tolist() == [[255, 255, 255], [204, 204, 204], [9, 9, 9]]
    wide = struct.pack(">HHH", 265, 521, 777)
    (tmp_path / "w.png").write_bytes(png([wide], 1, 16, 2, (b"tRNS", wide)))
    with pytest.raises(BadSampleError, match="16-bit transparent colour; save it with an alpha channel"):
        rgb(tmp_path / "w.png", 1, 1)


def corners(height=32, width=48):
    """Red, green, blue and white quarters, which no orientation maps on themselves, uint8 [height, width, 3]."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    top, left = slice(height // 2), slice(width // 2)
    picture[...] = 250
    picture[top, left] = 250, 0, 0
    picture[top, width // 2 :] = 0, 250, 0
    picture[height // 2 :, left] = 0, 0, 250
    return picture


UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
"""What the eight values of the EXIF tag 0x0112 mean."""


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "grey16.png", "grey16.tif", "alpha.png"])
@pytest.mark.parametrize("value", UPRIGHT)
def test_an_image_of_every_exif_orientation_is_stored_upright(name, value, tmp_path):
    picture = corners()
    image = Image.fromarray(picture)
    if name.startswith("grey16"):
        image = Image.fromarray(picture[..., 0].astype(np.uint16) << 8)
        picture = np.repeat(picture[..., :1], 3, axis=2)
    if name.startswith("alpha"):
        image.putalpha(Image.fromarray(picture[..., 1]))
        picture = np.round(on_white(image)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = value
    options = {"quality": 95, "subsampling": 0} if name == "a.jpg" else {"lossless": True} if name == "a.webp" else {}
    image.save(tmp_path / name, exif=exif, **options)
    expected = UPRIGHT[value](picture).astype(int)
    decoded = rgb(tmp_path / name, *expected.shape[:2])
    assert np.abs(decoded - expected).max() <= (6 if name == "a.jpg" else 1)
    with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as opened:
        assert ImageOps.exif_transpose(opened).size == expected.shape[1::-1]
        if name in ("a.jpg", "a.png", "a.webp", "a.tif"):
            np.testing.assert_array_equal(decoded, np.asarray(ImageOps.exif_transpose(opened)))
    assert look(tmp_path, [name]).sizes == [expected.shape[:2]]


MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""a, b, c and d of the display matrix that shows a picture as the EXIF orientation of that number does."""


def with_matrix(data, a, b, c, d):
    """Return the MP4 or MOV with another matrix in its track's header (ISO/IEC 14496-12, 8.3.2)."""

    def fields(a, b, c, d):
        return struct.pack(">9i", *(round(value * 65_536) for value in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)

    at = data.index(fields(1, 0, 0, 1), data.index(b"tkhd"))
    return data[:at] + fields(a, b, c, d) + data[at + 36 :]


@pytest.fixture(scope="module", params=["mp4", "mov"])
def plain(request, tmp_path_factory):
    """An MP4 or a MOV of `corners`, as its suffix and its bytes."""
    path = tmp_path_factory.mktemp("plain") / f"a.{request.param}"
    write_video(path, np.stack([corners()] * 3), codec="libx264")
    return request.param, path.read_bytes()


def ffmpeg_first_frame(path):
    """The first frame as ffmpeg's own command line shows it, uint8 [height, width, 3]."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg command is not installed")
    command = ["ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-f", "image2pipe", "-c:v", "png"]
    output = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True, timeout=60).stdout
    return np.asarray(Image.open(io.BytesIO(output)))


@pytest.mark.process
@pytest.mark.parametrize("value", MATRICES)
def test_a_video_of_every_display_matrix_is_stored_as_players_show_it(value, plain, tmp_path):
    suffix, data = plain
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(with_matrix(data, *MATRICES[value]))
    expected = UPRIGHT[value](corners()).astype(int)
    height, width = expected.shape[:2]
    kind = FramesKind("frames", count=1, height=height, width=width)
    decoded = decode(path, kind)[0].transpose(1, 2, 0)
    inside = np.ix_((4, -5), (4, -5))  # of each quarter, away from its edges
    assert np.abs(decoded[inside] - expected[inside]).max() < 16
    assert look(tmp_path, [path.name]).sizes == [(height, width)]
    shown = ffmpeg_first_frame(path).astype(int)
    assert shown.shape == expected.shape
    assert np.abs(decoded - shown).max() <= 2


def test_clips_and_flow_see_videos_as_players_do(plain, tmp_path):
    suffix, data = plain
    (tmp_path / f"a.{suffix}").write_bytes(with_matrix(data, *MATRICES[2]))
    clip = decode(tmp_path / f"a.{suffix}", ClipKind("clip", frames=2, height=32, width=48))
    assert np.all(np.abs(clip[:, :, 4, 4].astype(int) - [0, 250, 0]) < 16)
    pytest.importorskip("cv2")
    ramp = np.tile((np.arange(64) % 32 * 7).astype(np.uint8)[None, :, None], (32, 1, 3))
    write_video(tmp_path / f"r.{suffix}", np.stack([np.roll(ramp, i, axis=1) for i in range(3)]), codec="libx264")
    moving = (tmp_path / f"r.{suffix}").read_bytes()
    flow = FlowKind("flow", frames=1, height=32, width=64, compute=True)
    right = decode(tmp_path / f"r.{suffix}", flow)[0, 0, 8:-8, 8:-8].astype(float).mean()
    (tmp_path / f"l.{suffix}").write_bytes(with_matrix(moving, *MATRICES[2]))
    left = decode(tmp_path / f"l.{suffix}", flow)[0, 0, 8:-8, 8:-8].astype(float).mean()
    assert right > 0.3
    assert left < -0.3


def test_a_matrix_is_turned_to_by_its_signs_whatever_its_scale_and_zeros_are_none(plain, tmp_path):
    suffix, data = plain
    kind = FramesKind("frames", count=1, height=32, width=48)
    stored = {}
    for name, (a, d) in {"one": (1, 1), "none": (0, 0), "flip": (-1, 1), "wide": (-2, 1)}.items():
        (tmp_path / f"{name}.{suffix}").write_bytes(with_matrix(data, a, 0, 0, d))
        stored[name] = decode(tmp_path / f"{name}.{suffix}", kind)
    np.testing.assert_array_equal(stored["none"], stored["one"])
    np.testing.assert_array_equal(stored["wide"], stored["flip"])
    (tmp_path / f"a.{suffix}").write_bytes(with_matrix(data, 0.7071, 0.7071, -0.7071, 0.7071))
    with pytest.raises(BadSampleError, match="multiple of 90 degrees"):
        decode(tmp_path / f"a.{suffix}", kind)


def test_a_matrix_off_by_rounding_is_still_one_of_the_eight():
    matrix = np.array([[3, 65536, 0], [-65535, -9, 0], [0, 0, 1 << 30]], dtype=np.int32)
    assert orientation(matrix) == Image.Transpose.ROTATE_270
    assert orientation(np.array([[1 << 16, 0, 0], [0, 1 << 16, 0], [0, 0, 1 << 30]], dtype=np.int32)) is None


@pytest.mark.parametrize("codec", ["png", "qtrle"])
def test_a_video_with_alpha_is_laid_on_white(codec, tmp_path):
    image = drawing()
    with av.open(tmp_path / "a.mov", "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 24, 32, {"png": "rgba", "qtrle": "argb"}[codec]
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgba")))
        container.mux(stream.encode())
    decoded = decode(tmp_path / "a.mov", FramesKind("frames", count=1, height=32, width=24))[0]
    assert np.abs(decoded.transpose(1, 2, 0) - on_white(image)).max() <= 1


def test_images_of_a_folder_are_laid_on_white_and_turned_as_single_ones(tmp_path):
    (tmp_path / "f").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    drawing().save(tmp_path / "f" / "1.png", exif=exif)
    drawing().quantize(8).save(tmp_path / "f" / "2.gif")
    size = {"height": 24, "width": 32}
    single = [decode(tmp_path / "f" / name, ImageKind("image", channels=3, **size)) for name in ("1.png", "2.gif")]
    for kind in (FramesKind("frames", count=2, **size), ClipKind("clip", frames=2, **size)):
        np.testing.assert_array_equal(decode(tmp_path / "f", kind), np.stack(single))
    assert np.all(single[0][:, 0, 0] == 255)
    assert np.abs(single[0].transpose(1, 2, 0) - np.rot90(on_white(drawing()), -1)).max() <= 1
