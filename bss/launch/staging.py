"""Transfer files of a trial to its nodes and back, through the object store of resources.staging."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bss.config import Config, config_to_tree
from bss.console import make_plain_console
from bss.data.store import Store
from bss.files import digest_file, digest_json, write_json
from bss.remote.object_store import download_folder, upload_folder, upload_once
from bss.training.trial_spec import Trial

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Staging:
    """The S3 URLs of one trial."""

    store: str
    """The decoded samples, in a content-addressed folder; shared with other trials."""
    inputs: str
    """Parameters and plan."""
    result: str
    """The finished trial."""
    training: str
    """Contains the two above and those of earlier attempts; removed when the trial ends."""


@dataclass(frozen=True)
class NodeFiles:
    """Paths of a node's downloads."""

    store: Path
    params: Path
    plans: Path


def staging_of(config: Config, data: Store, training: str, attempt: str) -> Staging:
    """Return the URLs of one attempt at the trial named `training`."""
    assert config.resources.staging is not None
    root = config.resources.staging.rstrip("/")
    own = f"{root}/trainings/{training}"
    here = f"{own}/{attempt}"
    return Staging(f"{root}/stores/{_content(data)}", f"{here}/inputs", f"{here}/result", own)


def _content(data: Store) -> str:
    """Return a digest of all files of a store, without reading its arrays and tokenizers again."""
    files = [path for path in sorted(data.path.iterdir()) if path.is_file() and path.suffix != ".npy"]
    small = {file.name: digest_file(file) for file in files}
    return digest_json({"digest": data.digest, "files": small})


def upload_inputs(staging: Staging, config: Config, store: Path, trial: Trial, scratch: Path) -> None:
    """Upload what the nodes need for `trial`; the store only if it is not there yet."""
    inputs = scratch / "inputs"
    shutil.copytree(trial.plans / trial.id.scheduler, inputs / "plans" / trial.id.scheduler)
    write_json(inputs / "params.json", config_to_tree(config))
    console = make_plain_console()
    upload_once(store, staging.store, console)
    upload_folder(inputs, staging.inputs, console)


def download_inputs(store_url: str, inputs_url: str, folder: Path, downloads: bool) -> NodeFiles:
    """Return the files of a node below `folder`, downloaded once by the process that `downloads`.

    The others wait for it; torchrun ends them if it fails.
    """
    store, inputs = folder / "store", folder / "inputs"
    if downloads:
        download_folder(store_url, store)
        download_folder(inputs_url, inputs)
    while not inputs.is_dir():  # it appears last, atomically
        time.sleep(POLL_SECONDS)
    return NodeFiles(store, inputs / "params.json", inputs / "plans")
