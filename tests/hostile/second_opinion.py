"""Images decoded a second, independent way: values of what was accepted are compared, not only its shape."""

import io

import av
import cv2
import numpy as np
from PIL import Image

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
GIF_SIZE = 12, 10
"""Height and width of the frame in the tests' GIF, which may lie in a screen that is larger."""


def images_by_others(data: bytes, demuxer: str):
    """Yield the image as FFmpeg and as OpenCV decode it, uint8 RGB [height, width, 3]; nothing of those that refuse."""
    whole_end = lambda: _by_ffmpeg(_with_end(data), demuxer)  # noqa: E731
    decoders = [lambda: _by_ffmpeg(data, demuxer), lambda: _by_opencv(data)]
    for decoder in decoders + [whole_end] * (demuxer == "png_pipe"):
        try:
            image = decoder().copy()
            if demuxer == "gif":  # others fill the rest of the screen with a colour, viewers and bss leave it empty
                image[GIF_SIZE[0] :] = image[:, GIF_SIZE[1] :] = 255
            yield image
        except Exception:  # of damaged files they raise many types
            continue


def _by_ffmpeg(data: bytes, demuxer: str):
    """Return the first frame on white."""
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as complaints, av.open(io.BytesIO(data), format=demuxer) as container:
            container.streams.video[0].codec_context.thread_count = 1
            frame = next(container.decode(video=0))
            rgba = Image.fromarray(frame.to_ndarray(format="rgba"))
    finally:
        av.logging.set_level(None)
    # It shifts all rows of a BMP whose last row is missing padding bytes.
    assert not any("not enough data" in text for _, _, text in complaints)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))


def _with_end(data: bytes) -> bytes:
    """Return a PNG with a whole last chunk, which others need though all pixels come before it."""
    at = data.index(b"IDAT")
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big") + 4
    return data[:end] + b"\0\0\0\0IEND\xaeB`\x82"


def _by_opencv(data: bytes):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def resized(pixels, height: int, width: int):
    """Return uint8 [3, height, width] of uint8 [height, width, 3], bilinearly."""
    image = Image.fromarray(pixels)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)
