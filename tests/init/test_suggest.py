import numpy as np
import pytest
import soundfile
from conftest import write_manifest
from media import grey_steps, write_tokenizer, write_video
from PIL import Image

from bss.cli import main
from bss.config import load_config
from bss.data.store import Store
from bss.errors import BssError
from bss.init.suggest import suggest
from bss.stages.prepare import prepare


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder, which is the current one."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_sizes_come_from_the_files_and_the_parameters_prepare_the_data(own_root, project, capsys):
    root, _ = own_root
    assert main(["init", "--manifest", str(root / "manifest.csv")]) == 0
    shown = capsys.readouterr().out
    config = load_config(project / "params.yaml")
    audio, image = config.prepare.modalities["audio"], config.prepare.modalities["image"]
    assert (audio.kind, audio.sample_rate, audio.seconds) == ("audio", 4000, 0.2)
    assert (image.kind, image.height, image.width, image.channels) == ("image", 6, 6, 1)
    assert config.prepare.modalities["vector"].kind == "features"
    assert {name: encoder.kind for name, encoder in config.network.encoders.items()} == {
        "audio": "cnn",
        "image": "cnn",
        "vector": "mlp",
    }
    assert config.train.batch_size == 2
    assert config.generate.digits is None
    assert config.compare.control in config.schedule.schedulers
    prepare(config, root, project / "store")
    assert len(Store.open(project / "store")) == 84
    row = next(line.split() for line in shown.splitlines() if line.startswith(" owl"))
    assert row == ["owl", "16", "6", "6"]
    assert "Next: git init && dvc init && dvc repro" in shown


def test_the_same_data_gives_the_same_text(own_root, project):
    root, _ = own_root
    texts = [suggest(root / "manifest.csv", project).text for _ in range(2)]
    assert texts[0] == texts[1]
    assert f"root: {root}\n" in texts[0]
    assert "root: pets\n" in suggest(root / "manifest.csv", root.parent).text


def test_a_file_that_is_there_is_replaced_only_where_that_is_asked_for(own_root, project, capsys):
    root, _ = own_root
    (project / "params.yaml").write_text("mine")
    assert main(["init", "--manifest", str(root / "manifest.csv")]) == 1
    assert "params.yaml: already exists. Choose another path with --output, or overwrite it with --force." in (
        capsys.readouterr().err
    )
    assert (project / "params.yaml").read_text() == "mine"
    assert main(["init", "--manifest", str(root / "manifest.csv"), "--output", "other.yaml"]) == 0
    assert main(["init", "--manifest", str(root / "manifest.csv"), "--force"]) == 0
    assert (project / "params.yaml").read_text() == (project / "other.yaml").read_text()


def media_rows(root, count=40):
    """Write every form of media; return rows that name them."""
    write_tokenizer(root / "words", ["owl"])
    rows = []
    for i in range(count):
        sound = (22_050, np.zeros((1, 22_050), dtype=np.float32))
        if i < 4:
            write_video(root / f"v{i}.mp4", grey_steps(10, 48, 64), sound=sound)
            (root / f"d{i}").mkdir()
            for j in range(20):
                Image.new("L", (80, 40), 9 * j).save(root / f"d{i}" / f"{j}.png")
            np.save(root / f"f{i}.npy", np.zeros((12, 2, 24, 32), dtype=np.float16))
            (root / f"t{i}.txt").write_text("a longer text of eight words it is")
            soundfile.write(root / f"s{i}.flac", np.zeros(48_000 * 12), 48_000)
        n = i % 4
        rows.append(
            {"id": str(i), "label": "ab"[i % 2], "split": "test" if i >= 30 else "train", "group": f"g{i // 2}"}
            | {"video": f"v{n}.mp4", "speech": f"v{n}.mp4", "folder": f"d{n}", "motion": f"f{n}.npy"}
            | {"view": f"d{n}", "view_start": str(n), "view_end": "", "long_sound": f"s{n}.flac"}
            | {"file": f"t{n}.txt", "tweet": "an owl at night " * (1 + i % 3), "age": str(i), "speaker": f"Jo {n}"}
        )
    return rows


@pytest.mark.slow
def test_every_form_of_media_is_distinguished_from_the_others(tmp_path, project):
    root = tmp_path / "media"
    root.mkdir()
    write_manifest(root, media_rows(root))
    made = suggest(root / "manifest.csv", project)
    kinds = {name: guess.kind for name, guess in made.guesses.items()}
    assert kinds == {
        "video": {"kind": "frames", "count": 3, "height": 24, "width": 32, "channels": 3},
        "speech": {"kind": "audio", "sample_rate": 22_050, "seconds": kinds["speech"]["seconds"]},
        "folder": {"kind": "frames", "count": 3, "height": 16, "width": 32, "channels": 1},
        "motion": {"kind": "flow", "frames": 12, "height": 24, "width": 32},
        "view": {"kind": "clip", "frames": 16, "height": 16, "width": 32, "channels": 1},
        "long_sound": {"kind": "audio", "sample_rate": 22_050, "seconds": 10.0},
        "file": {"kind": "text", "tokenizer": "words", "tokens": 16, "source": "file"},
        "tweet": {"kind": "text", "tokenizer": "words", "tokens": 16},
    }
    assert kinds["speech"]["seconds"] == pytest.approx(1.0, abs=0.11)  # the codec adds some silence
    cautions = "\n".join(made.cautions)
    assert "long_sound: 9 of 10 sounds last up to 12.0 s; 10 s are kept" in cautions
    assert "unused columns: age, speaker" in cautions
    assert "tweet: a small BERT trained from scratch" in cautions
    assert made.carved
    assert {s.split for s in made.manifest.samples} == {"train", "val", "test"}
    # A group is in one split: the carved val has whole ones.
    splits = {}
    for sample in made.manifest.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(found) == 1 for found in splits.values())


def test_files_that_cannot_be_used_are_reported(own_root, project):
    root, rows = own_root
    for row in rows[::2]:
        (root / row["audio"]).write_bytes(b"")
    made = suggest(root / "manifest.csv", project)
    assert any("audio: " in line and "values cannot be used, such as" in line for line in made.cautions)
    for row in rows:
        (root / row["audio"]).write_bytes(b"")
    with pytest.raises(BssError, match="column 'audio': none of the 24 inspected files can be used, such as"):
        suggest(root / "manifest.csv", project)


def test_notes_about_the_samples_are_no_modalities(own_root, project):
    root, rows = own_root
    (root / "george").mkdir()
    (root / "pictures").mkdir()
    Image.new("L", (4, 4)).save(root / "pictures" / "1.png")
    notes = {"remark": "", "folder": "george", "all": "pictures", "year": "2020", "where": "New York"}
    write_manifest(root, [row | notes for row in rows])
    made = suggest(root / "manifest.csv", project)
    assert set(made.guesses) == {"audio", "image", "vector"}
    assert "unused columns: remark, folder, all, year, where" in made.cautions


def test_a_column_whose_files_are_broken_but_for_one_of_another_form_is_refused(own_root, project):
    root, rows = own_root
    for row in rows[1:]:
        (root / row["image"]).write_text("no image")
    write_manifest(root, [rows[0] | {"image": rows[0]["audio"]}, *rows[1:]])
    with pytest.raises(BssError, match=r"column 'image': none of the \d+ inspected files can be used"):
        suggest(root / "manifest.csv", project)


def without(*columns):
    return lambda rows: [{key: value for key, value in row.items() if key not in columns} for row in rows]


def leak(rows):
    rows[-1]["group"] = rows[0]["group"]
    return rows


def test_groups_in_two_splits_are_warned_of_and_the_parameters_still_prepare(own_root, project):
    root, rows = own_root
    write_manifest(root, leak(rows))
    made = suggest(root / "manifest.csv", project)
    assert made.cautions[0].startswith("1 groups are in two splits (group 'train0' is in train and test)")
    (project / "params.yaml").write_text(made.text)
    config = load_config(project / "params.yaml")
    assert config.protocol == "published"
    prepare(config, root, project / "store")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("split"), "missing column split"),
        (without("audio", "image"), "needs two or more modalities, found vector (features)"),
        (lambda rows: rows[:0] or [rows[0] | {"split": "train"}], "no sample has the split 'test'"),
        (
            lambda rows: (
                [row | {"group": "one"} for row in rows if row["split"] == "train"]
                + [row | {"group": "two"} for row in rows if row["split"] == "test"]
            ),
            "cannot split off val from train",
        ),
        (lambda rows: [{**row, "my image": row["image"]} for row in rows], "rename the columns ['my image']"),
    ],
)
def test_a_manifest_that_cannot_be_trained_on_is_refused(own_root, project, change, message):
    root, rows = own_root
    write_manifest(root, change(rows))
    with pytest.raises(BssError) as caught:
        suggest(root / "manifest.csv", project)
    assert message in str(caught.value)


def test_data_in_the_project_folder_itself_is_refused(own_root):
    root, _ = own_root
    for project in (root, root / "wav"):
        with pytest.raises(BssError, match="Move manifest and files to a separate folder, such as data/birds"):
            suggest(root / "manifest.csv", project)
    with pytest.raises(BssError, match=r"not found\. Give a CSV or Parquet file"):
        suggest(root / "none.csv", root.parent / "elsewhere")


def test_a_smaller_share_of_groups_is_tried_until_val_can_be_carved(own_root, project):
    root, rows = own_root
    kept = [row | {"group": f"{row['split']}{i % 2}"} for i, row in enumerate(rows) if row["split"] != "val"]
    write_manifest(root, kept)
    made = suggest(root / "manifest.csv", project)
    assert "val_share: 0.2 " in made.text
    assert sum(sample.split == "val" for sample in made.manifest.samples) == 24
    few = [row | {"group": ""} for row in rows if row["split"] == "test"]
    few += [row | {"group": ""} for row in rows if row["split"] == "train"][::5]  # four or so of each class
    write_manifest(root, few)
    made = suggest(root / "manifest.csv", project)
    assert "val_share: 0.34 " in made.text


def test_labels_that_are_measurements_are_called_so(own_root, project):
    root, rows = own_root
    write_manifest(root, [row | {"label": f"0.{number:03d}"} for number, row in enumerate(rows)])
    with pytest.raises(BssError, match=rf"the labels look like measurements \({len(rows)} different numbers\)"):
        suggest(root / "manifest.csv", project)


def test_sounds_beyond_full_scale_and_in_other_units_are_named(own_root, project):
    root, rows = own_root
    names = sorted({row["audio"] for row in rows})
    for name, scale in zip(names, [1.25] * 80 + [32_768.0] * 4, strict=True):
        soundfile.write(root / name, scale * np.sin(np.arange(800) / 5), 4000, subtype="FLOAT")
    cautions = "\n".join(suggest(root / "manifest.csv", project).cautions)
    assert "sounds exceed full scale (peak 1.25): they will be clipped to [-1, 1]" in cautions
    for name in names:
        soundfile.write(root / name, 32_768 * np.sin(np.arange(800) / 5), 4000, subtype="FLOAT")
    with pytest.raises(BssError, match=r"none of the 24 inspected files can be used, .*looks like 16-bit integers"):
        suggest(root / "manifest.csv", project)


def test_a_column_of_files_that_no_kind_reads_is_named_with_what_to_do(own_root, project):
    root, rows = own_root
    for row in rows:
        vector = np.load(root / row["vector"])
        row["archive"] = f"{row['id']}.npz"
        np.savez(root / row["archive"], vector)
    write_manifest(root, rows)
    made = suggest(root / "manifest.csv", project)
    assert "archive" not in made.guesses
    (caution,) = [text for text in made.cautions if text.startswith("archive:")]
    assert "no kind reads its files (.npz)" in caution
