"""What the README and the pages that it leads to show works as it stands."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from bss import __version__, balance
from bss.balance import Learned, SequenceSampler
from bss.config import BUILTIN, config_from_tree, config_to_tree, load_config
from bss.config.encoders import AnyEncoderConfig
from bss.config.fusion import AnyFusion
from bss.config.load import read_yaml

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def code_block(language, containing, page="README.md"):
    text = (PROJECT / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)
    (found,) = [block for block in blocks if containing in block]
    return found


class TwoModalities(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict({"audio": nn.Linear(4, 3), "video": nn.Linear(4, 3)})
        self.fusion = nn.Linear(8, 3)

    def forward(self, inputs):
        parts = dict(zip(self.heads, inputs.split(4, dim=1), strict=True))
        return {name: head(parts[name]) for name, head in self.heads.items()}, self.fusion(inputs)


def test_the_lines_for_ones_own_loop_train_a_model():
    torch.manual_seed(0)
    inputs, labels = torch.randn(150, 8), torch.randint(0, 3, (150,))
    inputs[torch.arange(150), labels] += 3
    inputs[torch.arange(150), labels + 4] += 3
    model = TwoModalities()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)

    def per_sample_loss(logits, fused, y):
        cross_entropy = nn.functional.cross_entropy
        return cross_entropy(fused, y, reduction="none") + sum(
            cross_entropy(z, y, reduction="none") for z in logits.values()
        )

    code = code_block("python", "SequenceSampler").replace(
        "        ...\n", "        optimiser.step()\n        optimiser.zero_grad()\n"
    )
    assert "optimiser.step()" in code
    names = {"train_set": TensorDataset(inputs, labels), "model": model, "per_sample_loss": per_sample_loss}
    names |= {"epochs": 6, "optimiser": optimiser}
    exec(compile(code, "README.md", "exec"), names)
    logits, fused = model(inputs)
    assert ((fused + sum(logits.values())).argmax(1) == labels).float().mean() > 0.9
    assert names["sampler"].scores is not None
    assert names["sampler"].scores.shape == (150,)


def test_the_parameters_for_ones_own_data_are_valid():
    from io import StringIO

    from ruamel.yaml import YAML

    tree = config_to_tree(load_config(BUILTIN))
    own = YAML(typ="safe").load(StringIO(code_block("yaml", "data/birds", "docs/own-data.md")))
    config = config_from_tree(tree | own, "docs/own-data.md")
    assert config.generate.digits is None
    assert set(config.prepare.modalities) == {"audio", "image", "motion"}


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(README.splitlines()) <= 130
    pages = {f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md")}
    linked = set(re.findall(r"\]\((docs/[\w.-]+\.md)", README))
    assert linked <= pages
    of_site = {"docs/index.md", "docs/api.md"}
    names = ("audit-measured", "training-length", "strategy-matrix", "strategy-matrix-recordings")
    of_results = {f"docs/{name}.md" for name in names}
    assert pages - linked == of_site | of_results
    for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (PROJECT / image).is_file()


def paths_named(text):
    """Return each path below a folder of the project that `text` names, up to a placeholder such as <name>."""
    folders = ("bss", "benchmarks", "components", "docs", "pipelines", "tests")
    found = re.findall(rf"(?<![\w/.-])(?:{'|'.join(folders)})/[\w./<>-]*", text)
    return {path.partition("<")[0].rstrip("./") for path in found}


def test_paths_are_found_in_text_code_and_links():
    text = "In `bss/files.py`, [docs](docs/data.md#a), tests/end. Not other/bss/x; `bss/models/<kind>.py`"
    assert paths_named(text) == {"bss/files.py", "docs/data.md", "tests/end", "bss/models"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_that_is_named_exists(page):
    named = paths_named((PROJECT / page).read_text(encoding="utf-8"))
    assert len(named) > 3
    assert [path for path in sorted(named) if not (PROJECT / path).exists()] == []


def test_the_rows_of_the_readme_are_those_of_the_results():
    rows = re.findall(r"^\| .* ± .*\|$", README, flags=re.M)
    assert len(rows) == 5
    results = (PROJECT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
    for row in rows:
        assert any(line.startswith(row) for line in results), row


def test_every_command_and_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", README, flags=re.M)) <= targets
    from bss.cli import _parser

    commands = _parser()._subparsers._group_actions[0].choices
    assert set(re.findall(r"`bss ([\w-]+)", README)) <= set(commands)
    stages = set(read_yaml(PROJECT / "dvc.yaml")["stages"])
    assert {"generate", "prepare", "audit", "measure", "schedule", "train", "compare"} == stages


def test_the_tables_of_networks_have_a_row_for_every_kind_of_encoder_and_fusion():
    text = (PROJECT / "docs" / "networks.md").read_text(encoding="utf-8")
    encoders, fusions = text.split("## Fusions")
    for union, part in ((AnyEncoderConfig, encoders), (AnyFusion, fusions)):
        kinds = [get_args(get_type_hints(config)["kind"])[0] for config in get_args(union)]
        assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", part, flags=re.M)) == sorted([*kinds, "kind"])


def test_the_lines_about_the_audit_list_the_samples(capsys):
    text = (PROJECT / "docs" / "audit.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    labels = np.arange(400) % 4
    shown = labels.copy()
    shown[:10] += 1
    shown %= 4
    rng = np.random.default_rng(0)
    audio, image = (25 * np.eye(4)[of] + rng.normal(0, 5, (400, 4)) for of in (labels, shown))
    exec(lines, {"audio_logits": audio, "image_logits": image, "labels": labels, "ids": [f"s{i}" for i in range(400)]})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 20
    assert sorted(line.split()[0] for line in printed[:10]) == [f"s{i}" for i in range(10)]
    assert all(re.fullmatch(r"s\d 0\.9\d\d contradiction image", line) for line in printed[:10])
    assert all(re.fullmatch(r"s\d+ 0\.0\d\d clean None", line) for line in printed[10:])


def test_the_lines_about_the_sampler_stop_and_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PROJECT / "docs" / "sampler.md").read_text(encoding="utf-8")
    minimum, several, save, load, *trainers, own = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(trainers) == 3
    assert own.startswith('"""Alternating')  # tests/stages/test_own_scheduler.py runs it
    for lines in trainers:  # whole programs are in examples/
        compile(lines, "docs/sampler.md", "exec")
    names = {name: getattr(balance, name) for name in balance.__all__} | {"torch": torch, "rank": 0}
    names |= {
        "train_set": range(50),
        "scores": [0.0] * 50,
        "batch_size": 8,
        "batches_done": 2,
        "model": nn.Linear(1, 1),
    }
    exec(minimum, names)
    names["sampler"].set_epoch(0)
    assert len(names["sampler"]) == 8
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        exec(several, names)
    finally:
        torch.distributed.destroy_process_group()
    sampler = names["sampler"]
    sampler.set_epoch(1)
    shown = list(sampler)
    exec(save, names)
    names["sampler"] = SequenceSampler(50, Learned(beta=0.6), 0)
    exec(load, names)
    assert list(names["sampler"]) == shown[16:]


def test_the_version_is_cited():
    cited = read_yaml(PROJECT / "CITATION.cff")
    assert cited["version"] == __version__
    assert cited["license"] == "Apache-2.0"
    assert cited["preferred-citation"]["doi"].lower() in README
