"""Symbolic links in the data: which are followed, and what a refusal says."""

import shutil

import numpy as np
import pytest
from conftest import CLASSES, small_tree, write_manifest
from PIL import Image

from bss.config import config_from_tree
from bss.config.modalities import FeaturesKind, FramesKind
from bss.data.decode import BadSampleError, make_decoder
from bss.data.decode.spans import WHOLE
from bss.data.store import Store
from bss.errors import BssError
from bss.init.suggest import suggest
from bss.stages.prepare import prepare

DIGEST = "9c1185a5c5e9fc54612808977ee8f548"


def make_store(root, folder, links="inside", **changes):
    tree = small_tree(root)
    tree["prepare"] |= {"links": links, **changes}
    prepare(config_from_tree(tree, "params.yaml"), root, folder)
    return Store.open(folder)


def values(store, modality):
    return np.stack([store.sample(modality, row) for row in range(len(store))])


def hugging_face_snapshot(data, tmp_path):
    """snapshots/<revision>/<name> -> ../../blobs/<digest>; returns the root, and one that holds all of it."""
    hub = tmp_path / "models--pets"
    root = hub / "snapshots" / "abc"
    (hub / "blobs").mkdir(parents=True)
    root.mkdir(parents=True)
    for number, file in enumerate(sorted(data.iterdir())):
        shutil.copy(file, hub / "blobs" / f"{number:064x}")
        (root / file.name).symlink_to(f"../../blobs/{number:064x}")
    return root, hub


def git_annex(data, tmp_path):
    """<name> -> ../.git/annex/objects/..., as in a folder of an annexed repository."""
    repository = tmp_path / "annexed"
    root = repository / "pets"
    root.mkdir(parents=True)
    for file in sorted(data.iterdir()):
        key = f"MD5E-s{file.stat().st_size}--{file.name}"
        objects = repository / ".git" / "annex" / "objects" / key
        objects.mkdir(parents=True)
        shutil.copy(file, objects / key)
        (root / file.name).symlink_to(f"../.git/annex/objects/{key}/{key}")
    return root, repository


def linked_folder(data, tmp_path):
    """pets/files -> a folder on another disk, and a manifest of its own."""
    root = tmp_path / "mine"
    root.mkdir()
    (root / "files").symlink_to(data, target_is_directory=True)
    rows = [line.split(",") for line in (data / "manifest.csv").read_text().splitlines()]
    lines = [rows[0], *([*row[:4], *(f"files/{name}" for name in row[4:])] for row in rows[1:])]
    (root / "manifest.csv").write_text("".join(",".join(row) + "\n" for row in lines))
    return root, None


LAYOUTS = {"hugging face": hugging_face_snapshot, "git-annex": git_annex, "linked folder": linked_folder}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_out_of_the_root_are_refused_with_a_fix_that_works(layout, small_root, small_store, tmp_path):
    root, _ = LAYOUTS[layout](small_root, tmp_path)
    with pytest.raises(BssError, match=r"a link that leaves the data root, to .*set prepare.links: follow"):
        make_store(root, tmp_path / "refused")
    plain = Store.open(small_store)
    followed = make_store(root, tmp_path / "followed", "follow")
    for name in ("audio", "image", "vector"):
        np.testing.assert_array_equal(values(followed, name), values(plain, name))
    digests = {line.split()[0] for line in (small_store / "files.sha256").read_text().splitlines()}
    assert {line.split()[0] for line in (tmp_path / "followed" / "files.sha256").read_text().splitlines()} == digests


@pytest.mark.parametrize("layout", ["hugging face", "git-annex"])
def test_a_root_that_holds_the_links_targets_needs_no_setting(layout, small_root, small_store, tmp_path):
    root, whole = LAYOUTS[layout](small_root, tmp_path)
    below = root.relative_to(whole).as_posix()
    rows = [line.split(",") for line in (root / "manifest.csv").read_text().splitlines()]
    lines = [rows[0], *([*row[:4], *(f"{below}/{name}" for name in row[4:])] for row in rows[1:])]
    (whole / "manifest.csv").write_text("".join(",".join(row) + "\n" for row in lines))
    plain, linked = Store.open(small_store), make_store(whole, tmp_path / "linked")
    for name in ("audio", "image", "vector"):
        np.testing.assert_array_equal(values(linked, name), values(plain, name))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_init_takes_linked_data_when_it_is_allowed_to(layout, small_root, tmp_path):
    root, _ = LAYOUTS[layout](small_root, tmp_path)
    with pytest.raises(BssError, match=r"bss init --links follow"):
        suggest(root / "manifest.csv", tmp_path / "project")
    (tmp_path / "project").mkdir()
    made = suggest(root / "manifest.csv", tmp_path / "project", links="follow")
    assert made.manifest.classes == sorted(CLASSES)
    assert "  links: follow " in made.text
    assert [guess.kind["kind"] for guess in made.guesses.values()] == ["audio", "image", "features"]


def test_a_name_that_leads_out_is_refused_even_when_links_are_followed(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    np.save(tmp_path / "x.npy", np.arange(4.0))
    decode = make_decoder(FeaturesKind("features"), root, "m", "follow")
    for name in ("../x.npy", str(tmp_path / "x.npy"), "a/../../x.npy"):
        with pytest.raises(BadSampleError, match="a path that leaves the data root"):
            decode(name, WHOLE)


def test_the_suffix_of_a_link_counts_and_not_that_of_its_target(tmp_path):
    """Containers are recognised by their suffix, and names of blobs have none."""
    blobs, root = tmp_path / "blobs", tmp_path / "root"
    blobs.mkdir()
    (root / "clip").mkdir(parents=True)
    for number in range(3):
        Image.new("L", (4, 4), 50 * number).save(blobs / f"{number:064x}", format="png")
        (root / "clip" / f"{number}.png").symlink_to(blobs / f"{number:064x}")
    kind = FramesKind("frames", count=3, height=4, width=4, channels=1)
    frames = make_decoder(kind, root, "m", "follow")("clip", WHOLE).array
    assert frames[:, 0, 0, 0].tolist() == [0, 50, 100]
    with pytest.raises(BadSampleError, match=r"0\.png: a link that leaves the data root"):
        make_decoder(kind, root, "m")("clip", WHOLE)


@pytest.mark.parametrize(
    ("place", "followed"),
    [
        (f"files/md5/{DIGEST[:2]}/{DIGEST[2:]}", True),
        (f"{DIGEST[:2]}/{DIGEST[2:]}", True),  # of DVC 2
        (f"files/md5/{DIGEST[:2]}/{DIGEST[2:]}.dir", False),
        (f"files/md5/{DIGEST}", False),
        ("files/md5/ab/secret", False),
        ("secret", False),
        (f"../other/files/md5/{DIGEST[:2]}/{DIGEST[2:]}", False),
    ],
)
def test_only_objects_of_the_projects_own_dvc_cache_are_followed(place, followed, tmp_path, monkeypatch):
    project = tmp_path / "project"
    root = project / "data" / "pets"
    root.mkdir(parents=True)
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    target = project / ".dvc" / "cache" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        np.save(file, np.arange(4.0))
    (root / "x.npy").symlink_to(target)
    decode = make_decoder(FeaturesKind("features"), root, "m")
    with pytest.raises(BadSampleError, match="leaves the data root"):
        decode("x.npy", WHOLE)  # the working directory is in no DVC project
    monkeypatch.chdir(project)
    if followed:
        np.testing.assert_array_equal(decode("x.npy", WHOLE).array, np.arange(4.0, dtype=np.float32))
    else:
        with pytest.raises(BadSampleError, match="leaves the data root"):
            decode("x.npy", WHOLE)


def test_data_that_bring_a_dvc_project_of_their_own_cannot_name_a_cache(tmp_path, monkeypatch):
    project = tmp_path / "project"
    root = project / "data" / "pets"
    (root / ".dvc").mkdir(parents=True)
    secret = tmp_path / "secret" / "files" / "md5" / DIGEST[:2]
    secret.mkdir(parents=True)
    with (secret / DIGEST[2:]).open("wb") as file:
        np.save(file, np.arange(4.0))
    (root / ".dvc" / "config").write_text(f"[core]\n    no_scm = true\n[cache]\n    dir = {tmp_path / 'secret'}\n")
    (root / "x.npy").symlink_to(secret / DIGEST[2:])
    monkeypatch.chdir(project)
    with pytest.raises(BadSampleError, match="leaves the data root"):
        make_decoder(FeaturesKind("features"), root, "m")("x.npy", WHOLE)


def test_an_unknown_value_of_links_is_an_error(own_root):
    root, rows = own_root
    write_manifest(root, rows)
    tree = small_tree(root)
    for value in ("all", True, None):
        tree["prepare"]["links"] = value
        with pytest.raises(BssError, match=r"prepare.links: should be 'inside' or 'follow'"):
            config_from_tree(tree, "params.yaml")
