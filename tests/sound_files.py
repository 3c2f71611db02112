"""Sound files of every container and codec, made and decoded by programs other than the ones under test."""

import io
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

RATE = 22_050
SECONDS = 2.0

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
needs_sox = pytest.mark.skipif(not shutil.which("sox"), reason="sox is not installed")

OFTEN = ("-page_duration", "100000")
"""An Ogg page ten times a second; ffmpeg's own last one."""
MADE: dict[str, tuple[str, ...]] = {
    "pcm16.wav": (),
    "pcm24.wav": ("-c:a", "pcm_s24le"),
    "float.wav": ("-c:a", "pcm_f32le"),
    "mulaw.wav": ("-c:a", "pcm_mulaw"),
    "adpcm.wav": ("-c:a", "adpcm_ms"),
    "rf64.wav": ("-rf64", "always"),
    "a.w64": (),
    "a.aiff": (),
    "a.au": (),
    "a.caf": (),
    "a.voc": (),
    "a.flac": (),
    "in-ogg.ogg": ("-c:a", "flac", *OFTEN),
    "vorbis.ogg": ("-c:a", "libvorbis", *OFTEN),
    "a.opus": ("-ar", "48000", "-c:a", "libopus", *OFTEN),
    "a.mp2": (),
    "cbr.mp3": ("-b:a", "64k"),
    "vbr.mp3": ("-q:a", "4"),
    "cbr-without-header.mp3": ("-write_xing", "0", "-b:a", "64k"),
    "vbr-without-header.mp3": ("-write_xing", "0", "-q:a", "4"),
    "a.m4a": (),
    "index-first.m4a": ("-movflags", "faststart"),
    "alac.m4a": ("-c:a", "alac"),
    "a.aac": (),
    "a.wma": (),
    "vorbis.mka": ("-c:a", "libvorbis"),
    "flac.mkv": ("-c:a", "flac"),
    "mp3.mkv": ("-c:a", "libmp3lame"),
    "opus.webm": ("-ar", "48000", "-c:a", "libopus"),
    "ac3.ts": ("-ar", "44100", "-c:a", "ac3"),
    "mp3.avi": ("-c:a", "libmp3lame"),
    "mp3.flv": ("-c:a", "libmp3lame"),
}
"""Name of each file, and what ffmpeg is asked for beside it."""
JOINED = ("a.flac", "vorbis.ogg", "a.opus", "cbr.mp3", "vbr-without-header.mp3")
"""Of which a second file holds the first one twice."""
LOSSLESS = ("pcm16.wav", "rf64.wav", "a.w64", "a.aiff", "a.au", "a.caf", "a.flac", "in-ogg.ogg", "alac.m4a", "flac.mkv")


def write_all(folder: Path) -> None:
    """Write the source, as source.wav, and every file of `MADE`; two seconds of two channels."""
    time = np.arange(round(RATE * SECONDS)) / RATE
    left, right = np.sin(2 * np.pi * (200 * time + 400 * time**2)), np.sin(2 * np.pi * (900 * time - 100 * time**2))
    steps = (np.arange(len(time)) * 8 // len(time) % 4 + 1) / 4  # so that no part is like another
    source = np.stack([0.5 * left * steps, 0.3 * right], axis=1)
    soundfile.write(folder / "source.wav", source, RATE, subtype="PCM_16")
    command = ["ffmpeg", "-v", "error", "-i", folder / "source.wav"]
    for name, options in MADE.items():
        command += [*options, "-fflags", "+bitexact", folder / name]
    subprocess.run(command, check=True, timeout=120)
    (folder / "vbri.mp3").write_bytes(with_vbri((folder / "vbr-without-header.mp3").read_bytes()))
    for name in JOINED:
        (folder / f"joined-{name}").write_bytes(2 * (folder / name).read_bytes())


def with_vbri(data: bytes) -> bytes:
    """Return an MPEG-2 layer III file behind a silent frame that holds a VBRI header."""
    start = data.index(b"\xff\xf3")
    with av.open(io.BytesIO(data)) as container:
        count = sum(packet.size > 0 for packet in container.demux())
    header = data[start : start + 2] + b"\x80" + data[start + 3 : start + 4]  # 64 kbit/s, 22,050 Hz: 208 bytes
    vbri = b"VBRI" + (1).to_bytes(2, "big") + bytes(4) + len(data).to_bytes(4, "big") + count.to_bytes(4, "big")
    return data[:start] + (header + bytes(32) + vbri).ljust(208, b"\0") + data[start:]


def rate_of(name: str) -> int:
    """Return the sample rate of a file of `MADE`."""
    options = MADE.get(name, ())
    return int(options[options.index("-ar") + 1]) if "-ar" in options else RATE


def by_ffmpeg(path: Path) -> np.ndarray:
    """Return what the program ffmpeg decodes, mixed to mono, float32 [samples]; empty if it refuses the file."""
    command = ["ffmpeg", "-v", "quiet", "-i", path, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return np.frombuffer(done.stdout, dtype="<f4").reshape(-1, 2).mean(axis=1)


def by_sox(path: Path) -> np.ndarray:
    """Return what sox decodes, mixed to mono, float32 [samples]."""
    done = subprocess.run(["sox", path, "-t", "f32", "-"], capture_output=True, timeout=60, check=True)
    return np.frombuffer(done.stdout, dtype="<f4").reshape(-1, 2).mean(axis=1)


def packet_starts(path: Path) -> list[int]:
    """Return where the packets of the file begin, in bytes."""
    with av.open(path) as container:
        return sorted({packet.pos for packet in container.demux() if packet.pos})
