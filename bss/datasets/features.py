"""Pre-extracted features of any modalities: one .npy file per sample and modality."""

from pathlib import Path

from bss.data.read_csv import read_csv
from bss.datasets.dataset import Dataset, Row, Tree
from bss.datasets.layout import first_there
from bss.datasets.preset import CREMA_D_TRAINING, extracted_features, paper_preset
from bss.errors import BssError

COLUMNS = ("id", "label", "split")


def read(root: Path) -> list[Row]:
    """Return a row per sample of labels.csv, with a path per folder of .npy files; without a group, it gets its own."""
    path = root / first_there(root, "labels.csv")
    columns, rows = read_csv(path)
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise BssError(f"{path}: missing {', '.join(missing)}; it has {columns}. Needed: id, label, split[, group].")
    modalities = folders(root)
    return [
        {column: row[column].strip() for column in COLUMNS}
        | {"group": row.get("group", "").strip() or f"id {row['id'].strip()}"}
        | {modality: f"{modality}/{row['id'].strip()}.npy" for modality in modalities}
        for _, row in rows
    ]


def folders(root: Path) -> list[str]:
    """Return the folders below `root` with .npy files, in alphabetical order; raise `BssError` if there are none."""
    own = (*COLUMNS, "group")
    inside = [folder for folder in root.iterdir() if folder.is_dir() and folder.name not in own]
    found = sorted(folder.name for folder in inside if any(folder.rglob("*.npy")))
    if not found:
        raise BssError(f"{root}: has no folder with .npy files. Expected <modality>/<id>.npy for each modality.")
    return found


def suggest(root: Path) -> tuple[Tree, Tree]:
    """Return modalities and encoders for the folders of `root`."""
    return extracted_features(folders(root))


DATASET = Dataset(
    name="features",
    title="Extracted features",
    citation="",
    read=read,
    group="group",
    classes=None,
    layout="""
labels.csv              id,label,split and optionally group, for related samples; split is train, val or test
<modality>/<id>.npy     numbers; all files of a modality have the same shape
""",
    preset=paper_preset(*extracted_features(()), **CREMA_D_TRAINING),
    suggest=suggest,
    notes=(
        "Its modalities are the folders: `bss init` writes them, and the short form lists the wanted ones in "
        "prepare.modalities, with their encoders.",
        "Not in the paper: trained like CREMA-D, with a multi-layer perceptron on each modality's features.",
    ),
)
