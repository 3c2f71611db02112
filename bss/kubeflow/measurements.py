"""The measurements of a run, one per seed: fanned out at the start, joined for planning."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bss.config import Config
from bss.errors import BssError
from bss.files import digest_json, read_json, whole_folder
from bss.kubeflow.lists import require_short
from bss.kubeflow.parameters import measuring_part, stage_part
from bss.remote.fetch import DataVersion
from bss.stages.measure import write_summary


def list_measurements(config: Config, version: DataVersion) -> list[dict[str, str]]:
    """Return the measurements, one per seed: ``parameters`` for `config_from_part`, and ``digest``.

    The digest covers the data and its preparation. Raises `BssError` if the list would be longer than
    a Kubeflow value may be.
    """
    digest = digest_json({"data": version.digest, "prepare": stage_part(config, "prepare")})
    measurements = [{"parameters": measuring_part(config, seed), "digest": digest} for seed in config.seeds]
    what = f"seeds: with the parameters of {len(config.seeds)} seeds the list of measurements"
    require_short(measurements, what, "Run fewer seeds at once.")
    return measurements


def join_scores(config: Config, measured: Sequence[Path], scores: Path) -> None:
    """Arrange the scores of single seeds in the folder `scores`, in the layout of the stage measure.

    Raises `BssError` if a seed is missing, or a folder does not hold measurements of this store's samples.
    """
    provenances = [read_json(part / "provenance.json", "measure") for part in measured]
    if len({str(p["inputs"]) for p in provenances}) > 1:
        raise BssError("the seeds were measured on different stores: rerun the pipeline without its cache.")
    of_seed = {seed: part for part, p in zip(measured, provenances, strict=True) for seed in p["parameters"]["seeds"]}
    missing = [str(seed) for seed in config.seeds if seed not in of_seed]
    if missing:
        raise BssError(f"no scores of seed {', '.join(missing)}, only of {', '.join(map(str, of_seed))}.")
    with whole_folder(scores) as folder:
        summaries = {}
        for seed in config.seeds:
            shutil.copytree(of_seed[seed] / f"seed={seed}", folder / f"seed={seed}")
            summaries[seed] = read_json(of_seed[seed] / "summary.json", "measure")[f"seed={seed}"]
        parameters = provenances[0]["parameters"] | {"seeds": list(config.seeds)}
        write_summary(folder, summaries, provenances[0]["inputs"], parameters)
