"""Videos decoded a second time, by the ffmpeg command: frames, their times, and sound."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from damage import decode
from ffmpeg_command import Job, decode_by_command
from PIL import Image
from second_decoding import SAME, au_sound, difference
from second_decoding import Accepted as AcceptedSound
from second_opinion import resized

from bss.config.modalities import AudioKind, ClipKind, FlowKind, FramesKind
from bss.data.decode.flow import FARNEBACK

LEVELS = 3
"""Of 255, by which two versions of FFmpeg convert colours differently."""
SOUND = ("-map", "INPUT:a:0", "-f", "au", "-c:a", "pcm_f32be")
FRAMES = ("-map", "INPUT:v:0", "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24")
TIMES = ("-map", "INPUT:v:0", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "framecrc")


class Accepted(NamedTuple):
    """What bss decoded of a video file."""

    data: bytes
    kind: Any
    decoded: Any
    """As it is stored."""


def compare_videos(accepted: list[Accepted], path: Path, undamaged: bytes | None = None) -> int:
    """Assert that each is what the ffmpeg command makes of the file, which is written beside `path`.

    The command refuses some: it is an older FFmpeg, to which a fault of one track is one of all. Return how many of
    them are not what bss decodes of the `undamaged` file.
    """
    if undamaged is not None:
        path.write_bytes(undamaged)
    right = {kind: decode(path, kind) for kind in {video.kind for video in accepted}} if undamaged is not None else {}
    wanted = {(video.data, output): None for video in accepted for output in _outputs(video.kind)}
    files = {data: path.with_name(f"{number}{path.suffix}") for number, (data, _) in enumerate(wanted)}
    for data, file in files.items():
        file.write_bytes(data)
    written = decode_by_command([Job(files[data], (), output) for data, output in wanted], path.parent)
    found = dict(zip(wanted, written, strict=True))
    alone = 0
    for data, kind, decoded in accepted:
        outputs = [found[data, output] for output in _outputs(kind)]
        if not all(outputs):
            alone += kind not in right or not np.array_equal(decoded, right[kind])
            continue
        if isinstance(kind, AudioKind):
            assert difference(AcceptedSound(data, kind, decoded), *au_sound(outputs[0])) <= SAME
            continue
        frames = _images(outputs[0])
        indices = _indices(kind, _times(outputs[1]) if len(outputs) > 1 else None, len(frames))
        if isinstance(kind, FlowKind):
            expected = np.stack([_flow(frames[i], frames[i + 1], kind) for i in indices])
        else:
            kept = [resized(frames[i], kind.height, kind.width) for i in indices]
            expected = np.stack(kept if kind.channels == 3 else [_grey(frames[i], kind)[None] for i in indices])
        assert decoded.shape == expected.shape
        assert np.abs(expected.astype(float) - decoded).max() <= (0.1 if isinstance(kind, FlowKind) else LEVELS)
    return alone


def _outputs(kind: Any) -> tuple[tuple[str, ...], ...]:
    if isinstance(kind, AudioKind):
        return (SOUND,)
    return (FRAMES, TIMES) if isinstance(kind, FramesKind) and kind.rate else (FRAMES,)


def _images(data: bytes) -> list[Any]:
    """Return the PPM images that follow each other in `data`, uint8 [height, width, 3] each."""
    images, file = [], io.BytesIO(data)
    while file.readline() == b"P6\n":
        width, height = map(int, file.readline().split())
        file.readline()
        images.append(np.frombuffer(file.read(3 * width * height), np.uint8).reshape(height, width, 3))
    return images


def _times(data: bytes) -> list[float]:
    """Return when each frame is shown, in seconds after the first, of a listing by the muxer framecrc."""
    lines = data.decode().splitlines()
    base = next(line.split(":")[1].split("/") for line in lines if line.startswith("#tb 0:"))
    stamps = [int(line.split(",")[2]) for line in lines if not line.startswith("#")]
    return [(stamp - stamps[0]) * int(base[0]) / int(base[1]) for stamp in stamps]


def _indices(kind: Any, times: list[float] | None, available: int) -> list[int]:
    """Return which frames are wanted (of flow: the first of each pair)."""
    if isinstance(kind, ClipKind | FlowKind):
        available -= isinstance(kind, FlowKind)
        first = max(0, (available - kind.frames) // 2)
        return [min(first + i, available - 1) for i in range(kind.frames)]
    shown = list(range(available))
    if times is not None:
        # Half a millisecond early is in time.
        moments = [i / kind.rate for i in range(int((times[-1] + 5e-4) * kind.rate) + 1)]
        shown = [max(i for i, time in enumerate(times) if time <= moment + 5e-4) for moment in moments]
    return [shown[int((i + 0.5) * len(shown) / kind.count)] for i in range(kind.count)]


def _grey(frame: Any, kind: Any) -> Any:
    image = Image.fromarray(frame).convert("L").resize((kind.width, kind.height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _flow(frame: Any, following: Any, kind: FlowKind) -> Any:
    greys = _grey(frame, kind), _grey(following, kind)
    return cv2.calcOpticalFlowFarneback(*greys, None, **FARNEBACK).transpose(2, 0, 1)
