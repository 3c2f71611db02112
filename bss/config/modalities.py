"""How the files of a modality are decoded: one frozen dataclass per kind, for prepare.modalities."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from bss.balance.checks import require


@dataclass(frozen=True)
class AudioKind:
    """A sound file that libsndfile reads, or the audio track of a video file, mixed to mono and resampled."""

    kind: Literal["audio"]
    sample_rate: int = 16000
    """Hz after resampling, 1000 to 768000."""
    seconds: float = 1.0
    """Length of the network's input."""
    short: Literal["pad", "tile"] = "pad"
    """A shorter sound is padded with silence at its end, or repeated; it is stored as it is."""
    long: Literal["start", "centre"] = "start"
    """Which part of a longer sound is kept."""
    stored: Literal["float32", "int16"] = "float32"
    """int16 takes half the space. It changes nothing if the files have 16 bits, one channel and this sample
    rate; otherwise it adds noise at 16 bits, visible in empty regions of a log-spectrogram, such as
    above the highest frequency of sounds resampled to a higher rate."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(1000 <= self.sample_rate <= 768_000, "sample_rate", self.sample_rate, "1000 to 768000 Hz")
        require(self.seconds * self.sample_rate >= 1, "seconds", self.seconds, "long enough for one sample")

    @property
    def samples(self) -> int:
        """Length of the network's input in samples."""
        return round(self.seconds * self.sample_rate)


@dataclass(frozen=True)
class ImageKind:
    """An image file that Pillow reads, resized to one size."""

    kind: Literal["image"]
    height: int = 224
    """Pixels."""
    width: int = 224
    """Pixels."""
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require_size(self.height, self.width)


@dataclass(frozen=True)
class FramesKind:
    """A few still frames of a video file or of a folder of images, spread evenly over the whole.

    The images of a folder are ordered by name, numbers in it by value (2.jpg before 10.jpg); the frames of
    a video by time.
    """

    kind: Literal["frames"]
    count: int = 3
    """Frames to keep: the middle ones of `count` equal parts; if there are fewer, some are repeated."""
    rate: float | None = None
    """Frames per second to which a video is thinned before `count` are taken: those shown at 0, 1 / rate,
    2 / rate, ... seconds. Null takes every frame. Has no effect on folders of images."""
    height: int = 224
    """Pixels."""
    width: int = 224
    """Pixels."""
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.count >= 1, "count", self.count, "at least 1")
        require(self.rate is None or 0 < self.rate <= 1000, "rate", self.rate, "null or above 0 and at most 1000")
        _require_size(self.height, self.width)


@dataclass(frozen=True)
class ClipKind:
    """Consecutive frames of a video file or of a folder of images, for a network that convolves over time.

    The manifest's optional columns <modality>_start and <modality>_end select the part of the
    file for a sample: frames counted from 0, end excluded; an empty value means the file's start or
    end.
    """

    kind: Literal["clip"]
    frames: int = 16
    """Consecutive frames to keep."""
    short: Literal["pad", "tile"] = "pad"
    """A shorter part is filled with its last frame, or repeated."""
    long: Literal["start", "centre"] = "centre"
    """What is kept of a longer part."""
    height: int = 112
    """Pixels."""
    width: int = 112
    """Pixels."""
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.frames >= 1, "frames", self.frames, "at least 1")
        _require_size(self.height, self.width)


@dataclass(frozen=True)
class FlowKind:
    """Optical flow: how far each pixel moves from one frame to the next, to the right and down, in pixels.

    A .npy file of numbers, [frames, 2, height, width] or [2, frames, height, width] (the first if both
    fit), or computed from a video file or a folder of images. Columns <modality>_start and <modality>_end
    as for a clip.
    """

    kind: Literal["flow"]
    frames: int = 16
    """Consecutive flows to keep."""
    compute: bool = False
    """True computes the flow between consecutive frames, resized first (Farneback's method; needs OpenCV), for
    every file except .npy files, which are read."""
    short: Literal["pad", "tile"] = "pad"
    """A shorter part is filled with its last flow, or repeated."""
    long: Literal["start", "centre"] = "centre"
    """What is kept of a longer part."""
    height: int = 112
    """Pixels; a flow of another size is resized and its vectors scaled."""
    width: int = 112
    """Pixels."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.frames >= 1, "frames", self.frames, "at least 1")
        _require_size(self.height, self.width)


@dataclass(frozen=True)
class TextKind:
    """A text as token ids; 0 is padding."""

    kind: Literal["text"]
    tokenizer: str | None = None
    """Folder with a tokenizer's files, inside the data root or absolute, or a name on the Hugging Face hub; null
    learns byte pairs from the training texts, with no network, and keeps them in the store."""
    revision: str | None = None
    """Commit, tag or branch of a tokenizer on the hub; null uses its main branch. Downloads are cached."""
    tokens: int = 32
    """Length of every sample including special tokens; longer texts are cut, shorter ones padded."""
    vocabulary: int = 4096
    """Vocabulary size of a learned tokenizer, 300 to 1000000; smaller if the training texts do not yield as many. A
    tokenizer named by `tokenizer` has its own size."""
    source: Literal["column", "file"] = "column"
    """The manifest's column holds the text itself, or the path of a .txt file in UTF-8."""
    lower_case: bool = True
    """Convert to lower case."""
    remove_punctuation: bool = True
    """Replace punctuation by spaces."""
    letters_only: bool = False
    """Replace everything but the letters a to z and A to Z by spaces: digits and other alphabets too."""
    words: int | None = None
    """Keep this many words from the start of the cleaned text, at least 1; null keeps all."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        named = self.tokenizer is None or bool(self.tokenizer.strip())
        require(named, "tokenizer", self.tokenizer, "null, a folder or a name on the hub")
        fits = self.revision is None or self.tokenizer is not None
        require(fits, "revision", self.revision, "null without a `tokenizer`")
        require(300 <= self.vocabulary <= 1_000_000, "vocabulary", self.vocabulary, "300 to 1000000")
        require(1 <= self.tokens <= 100_000, "tokens", self.tokens, "1 to 100000")
        require(self.words is None or self.words >= 1, "words", self.words, "null or at least 1")


@dataclass(frozen=True)
class FeaturesKind:
    """A .npy file of numbers; all files of the modality have the same shape."""

    kind: Literal["features"]


def _require_size(height: int, width: int) -> None:
    require(height >= 1, "height", height, "at least 1")
    require(width >= 1, "width", width, "at least 1")


ModalityKind = Annotated[
    AudioKind | ImageKind | FramesKind | ClipKind | FlowKind | TextKind | FeaturesKind, Field(discriminator="kind")
]
