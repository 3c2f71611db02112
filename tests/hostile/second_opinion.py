"""Decoding a file a second, independent way: values of what was accepted are compared, not only its shape."""

import io
import shutil
import subprocess

import av
import numpy as np
from PIL import Image

from bss.data.decode.spans import spread


def image_by_ffmpeg(data: bytes, demuxer: str):
    """Return the first frame that FFmpeg decodes from `data` as uint8 RGB [height, width, 3]; None if it refuses."""
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as complaints, av.open(io.BytesIO(data), format=demuxer) as container:
            container.streams.video[0].codec_context.thread_count = 1
            frame = next(container.decode(video=0))
            rgba = Image.fromarray(frame.to_ndarray(format="rgba"))
    except Exception:  # of damaged files it raises many types
        return None
    finally:
        av.logging.set_level(None)
    if any(level <= av.logging.WARNING for level, _, _ in complaints):
        return None
    return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))


def resized(pixels, height: int, width: int):
    """Return uint8 [3, height, width] of uint8 [height, width, 3], bilinearly."""
    image = Image.fromarray(pixels)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def frames_by_command(path, count: int, height: int, width: int, shape):
    """Return `count` frames spread over what the ffmpeg command decodes, uint8 [count, 3, height, width].

    `shape` is the height and width of the video. None if the command is missing, complains, or gives frames of another
    size.
    """
    if shutil.which("ffmpeg") is None:
        return None
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-xerror",
        "-threads",
        "1",
        "-i",
        path,
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
    ]
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, timeout=60, check=False
    )
    size = shape[0] * shape[1] * 3
    if done.returncode or done.stderr or not done.stdout or len(done.stdout) % size:
        return None
    frames = np.frombuffer(done.stdout, dtype=np.uint8).reshape(-1, *shape, 3)
    return np.stack([resized(frames[index], height, width) for index in spread(len(frames), count)])
