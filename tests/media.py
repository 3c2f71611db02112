"""Writing small real media files for tests."""

from pathlib import Path

import av
import numpy as np


def write_video(path: Path, frames: np.ndarray, rate: int = 10, codec: str = "mpeg4", sound=None, sound_codec="aac"):
    """Encode uint8 [frames, height, width, 3], and `sound` (rate, float32 [channels, samples]) beside it."""
    with av.open(path, "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = {"ffv1": "bgr0", "mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
        if codec in ("mpeg4", "flv"):
            video.bit_rate = 4_000_000
        audio = None
        if sound is not None:
            audio = container.add_stream(sound_codec, rate=sound[0])
            audio.layout = "mono" if len(sound[1]) == 1 else "stereo"
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[1]), format="fltp", layout=audio.layout.name)
            frame.sample_rate = sound[0]
            frame.pts = 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode())


def grey_steps(count: int, height: int = 32, width: int = 48, step: int = 10) -> np.ndarray:
    """Frame i is grey of brightness 20 + step * i throughout, uint8 [count, height, width, 3]."""
    levels = (20 + step * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def brightness(stack: np.ndarray) -> list[int]:
    """Mean of each frame, uint8 [frames, channels, height, width]."""
    return [round(frame.mean()) for frame in stack.astype(float)]


def write_tokenizer(folder: Path, words: list[str], marks: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")):
    """Write a BERT tokenizer whose numbers are positions in `marks` and `words`."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*marks, "[MASK]", *words]) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
