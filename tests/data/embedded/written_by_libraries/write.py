"""Write the folders beside this file with the real libraries: `pip install datasets webdataset`, then run it.

Written with datasets 5.2.0 and webdataset 1.0.2. Sample i of 20 is a grey picture [4, 4] of brightness 10 i, 80 sound
samples of 100 i at 4000 Hz, and the class i % 2; i < 12 is train, then 4 validation and 4 test.
"""

import io
from pathlib import Path

import numpy as np
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Picture
from webdataset import ShardWriter

HERE = Path(__file__).parent
CLASSES = ["cat", "dog"]
SPLITS = {"train": range(12), "validation": range(12, 16), "test": range(16, 20)}


def picture(i):
    stream = io.BytesIO()
    Picture.fromarray(np.full((4, 4), 10 * i, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def sound(i):
    stream = io.BytesIO()
    soundfile.write(stream, np.full(80, 100 * i, np.int16), 4000, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def dataset(numbers, with_id):
    columns = {"id": [f"s{i:02}" for i in numbers]} if with_id else {}
    columns |= {"label": [i % 2 for i in numbers], "caption": [f"number {i} of them" for i in numbers]}
    columns["image"] = [{"bytes": picture(i), "path": None} for i in numbers]
    columns["audio"] = [{"bytes": sound(i), "path": f"sound-{i}.wav"} for i in numbers]
    features = {"id": Value("string")} if with_id else {}
    features |= {"label": ClassLabel(names=CLASSES), "caption": Value("string"), "image": Image()}
    # Cast, because encoding a sound needs torchcodec even if it is encoded already.
    return Dataset.from_dict(columns).cast(Features(features | {"audio": Audio(sampling_rate=4000)}))


if __name__ == "__main__":
    DatasetDict({split: dataset(numbers, True) for split, numbers in SPLITS.items()}).save_to_disk(HERE / "disk")
    for split, numbers in SPLITS.items():  # named as push_to_hub names them
        shards = [numbers[:8], numbers[8:]] if split == "train" else [numbers]
        for number, part in enumerate(shards):
            name = f"{split}-{number:05}-of-{len(shards):05}.parquet"
            (HERE / "hub" / "data").mkdir(parents=True, exist_ok=True)
            dataset(part, False).to_parquet(HERE / "hub" / "data" / name, batch_size=3)
    (HERE / "shards").mkdir(exist_ok=True)
    for split, numbers in SPLITS.items():
        with ShardWriter(str(HERE / "shards" / f"{split}-%03d.tar"), maxcount=8, verbose=0) as writer:
            for i in numbers:
                fields = {"png": np.full((4, 4), 10 * i, np.uint8), "wav": sound(i), "txt": f"number {i} of them"}
                writer.write(
                    {"__key__": f"s{i:02}", **fields, "cls": i % 2, "json": {"label": str(i % 2), "year": 1999}}
                )
