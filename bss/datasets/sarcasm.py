"""Multi-modal sarcasm detection (Cai et al., 2019): tweets with an image, sarcastic or not."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import first_there, name_labels, read_json_list
from bss.datasets.preset import FINE_TUNING, paper_preset, random_resized_crop, text_and_image

LABELS = {"0": "not sarcastic", "1": "sarcastic"}


def read(root: Path) -> list[Row]:
    """Return a row per entry of the published lists; the group is the image."""
    images = first_there(root, "images")
    rows = []
    for split in ("train", "val", "test"):
        name = f"annotations/{split}_data.json"
        found = read_json_list(root, name, ("image", "text", "label"))
        labels = name_labels(root / name, [entry["label"] for entry in found], LABELS)
        rows += [
            {
                "id": f"{split}-{number}",
                "label": label,
                "split": split,
                "group": entry["image"].removesuffix(".jpg"),
                "text": entry["text"],
                "image": f"{images}/{entry['image']}" + ("" if "." in entry["image"] else ".jpg"),
            }
            for number, (entry, label) in enumerate(zip(found, labels, strict=True), 1)
        ]
    return rows


DATASET = Dataset(
    name="sarcasm",
    title="Sarcasm",
    citation=(
        "Y. Cai, H. Cai, X. Wan: Multi-Modal Sarcasm Detection in Twitter with Hierarchical Fusion Model. ACL, 2019."
    ),
    address="https://github.com/headacheboy/data-of-multimodal-sarcasm-detection",
    read=read,
    group="image",
    classes=2,
    counts={"train": 19816, "val": 2410, "test": 2409},
    accuracy={
        "concat": 82.86,
        "etmc": 83.69,
        "mses": 84.18,
        "g-blending": 83.35,
        "domfn": 83.56,
        "ogm": 83.23,
        "mslr": 84.23,
        "agm": 84.02,
        "pmr": 83.6,
        "reconboost": 84.37,
        "mmpareto": 83.48,
        "smv": 84.18,
        "mla": 84.26,
        "amss": 84.35,
        "bss-h": 84.41,
        "bss-l": 85.01,
    },
    options={"amss": {"temperature": 0.5, "relative": False, "classifier": True}},
    layout="""
annotations/train_data.json, val_data.json, test_data.json   [{"image": ..., "text": ..., "label": 0 or 1}, ...]
images/<image>                                               .jpg; the lists may omit the suffix
""",
    preset=paper_preset(
        *text_and_image(
            text={"tokens": 128, "words": 50},
            side=256,
            image={"normalisation": "clip", "crop": random_resized_crop(224) | {"scale": [0.5, 1.0]}},
        ),
        **FINE_TUNING,
    ),
    methods={"bss-l": {"train": {"epochs": 100}}},
    differs=(
        "Both modalities share one head, after a projection of the image network's 1,000 logits to the 768 features "
        "of BERT; here each has a head on its own features.",
        "They augment images with RandAugment in addition to crops.",
        "They never truncate tokens; here a text of 50 words with more than 128 tokens is truncated.",
    ),
    notes=(
        "The sample train-7 is entry 7 of train_data.json, counted from 1; label 1 means sarcastic.",
        "Images are stored at 256 x 256 pixels; training sees random crops of 224, evaluation the whole image.",
    ),
)
