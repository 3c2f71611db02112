"""Writing small real media files for tests."""

from pathlib import Path

import av
import numpy as np
from PIL import Image


def write_video(path: Path, frames: np.ndarray, rate: int = 10, codec: str = "mpeg4", sound=None, sound_codec="aac"):
    """Encode uint8 [frames, height, width, 3], and `sound` (rate, float32 [channels, samples]) beside it."""
    with av.open(path, "w") as container:
        container.metadata["title"] = f"{path.parent.name}/{path.name}"  # no two videos of a test are one file
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


def stamp(path: Path) -> None:
    """Make an image a file like no other: its readers pass over what stands behind its end."""
    with path.open("ab") as file:
        file.write(f"{path.parent.name}/{path.name}".encode())


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


def write_every_kind(root: Path) -> list[dict[str, str]]:
    """Write twelve samples of two classes with every kind of modality but features and image; return the rows.

    Frame j of video i has the brightness 20 + 5 j + i.
    """
    write_tokenizer(root / "tokenizer", ["owl", "cat"])
    rows = []
    for i in range(12):
        frames = grey_steps(8, step=5) + np.uint8(i)
        sound = (8000, np.full((1, 8000), 0.01 * i, dtype=np.float32))
        write_video(root / f"{i}.mkv", frames, codec="ffv1", sound=sound, sound_codec="flac")
        (root / f"{i}").mkdir()
        for number, pixels in enumerate(frames):
            Image.fromarray(pixels).save(root / f"{i}" / f"{number}.png")
        np.save(root / f"{i}.npy", np.full((4, 2, 5, 6), i, dtype=np.float32))
        rows.append(
            {"id": f"b{i}", "label": ("cat", "owl")[i % 2], "split": ("train", "train", "val", "test")[i // 2 % 4]}
            | {"sound": f"{i}.mkv", "shots": f"{i}.mkv", "view": f"{i}", "view_start": str(i % 3), "view_end": ""}
            | {"motion": f"{i}.npy", "words": "An owl, a <b>cat</b>!"}
        )
    return rows


def every_kind_sections(root: Path) -> dict:
    """Return the sections `prepare` and `network` for `write_every_kind`."""
    kinds = {
        "sound": {"kind": "audio", "sample_rate": 8000, "seconds": 0.5},
        "shots": {"kind": "frames", "count": 3, "height": 8, "width": 10},
        "view": {"kind": "clip", "frames": 4, "height": 8, "width": 10, "channels": 1, "long": "start"},
        "motion": {"kind": "flow", "frames": 2, "height": 5, "width": 6},
        "words": {"kind": "text", "tokenizer": "tokenizer", "tokens": 9},
    }
    encoders = {name: {"kind": "bert" if kind["kind"] == "text" else "mlp"} for name, kind in kinds.items()}
    encoders["sound"]["spectrogram"] = {"n_fft": 64, "hop": 64}
    return {"prepare": {"root": str(root), "modalities": kinds}, "network": {"encoders": encoders}}
