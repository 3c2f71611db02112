"""`bss doctor`: check packages, device, servers and requested resources."""

import os
import platform
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from bss import __version__
from bss.config import Config, load_config
from bss.console import make_console
from bss.errors import BssError
from bss.extras import install
from bss.gpus import look_at_gpus
from bss.provenance import code_version
from bss.redact import redact
from bss.remote.s3_files import SCHEME, list_objects
from bss.tracking.destination import quiet_mlflow, tracking_uri, unreachable

REQUIRED = (
    *("numpy", "torch", "pyarrow", "scikit-learn", "scipy", "matplotlib", "soundfile", "soxr", "pillow"),
    *("transformers", "safetensors", "jinja2", "pydantic", "rich", "ruamel.yaml"),
)
"""What every pipeline imports: torch, numpy and the extra `train`."""
OPTIONAL = {
    "av": "video",
    "opencv-python-headless": "video",
    "mlflow": "tracking",
    "boto3": "s3",
    "dvc": "dvc",
    "kfp": "kubeflow",
}
"""What only some need, and the extra that installs it."""

SHARED_MEMORY = Path("/dev/shm")
GIB = 1024**3

Finding = tuple[str, str, bool]
"""What was checked, what was found, and whether it passed."""


def doctor(params: Path | None, overrides: Iterable[str], bucket: str | None, shared_memory: float | None) -> int:
    """Print all checks; return 0 if every requested one passes, else 1.

    Requested is what the parameters need (`params` None: no parameters, as in a container), what the
    environment names, access to `bucket` (s3://bucket[/prefix]) and `shared_memory` GiB in /dev/shm.
    """
    findings: list[Finding] = [_code(), *(_package(name) for name in REQUIRED)]
    findings += [_optional(name, extra) for name, extra in OPTIONAL.items()]
    findings.append(_processors())
    findings.append(_shared_memory(shared_memory))
    config = None
    if params is None:
        findings.append(("parameters", "no params.yaml here", True))
    else:
        try:
            config = load_config(params, overrides)
            findings.append(("parameters", f"{params}: valid", True))
        except BssError as error:
            findings.append(("parameters", str(error), False))
    findings.append(_device(config))
    findings += look_at_gpus(config)
    findings.append(_tracking(config))
    findings.append(_object_store(bucket))
    if config is not None:
        findings.append(_data(config))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "check", "found"):
        table.add_column(title)
    for name, found, fine in findings:
        table.add_row("ok" if fine else "NO", name, Text(found))
    console = make_console()
    console.print(table)
    wrong = [name for name, _, fine in findings if not fine]
    console.print(f"{len(wrong)} to fix: {', '.join(wrong)}" if wrong else "All checks passed.")
    return 1 if wrong else 0


def _code() -> Finding:
    code = code_version()
    return "bss", f"{__version__}, commit {code['commit'][:12]}{' (modified)' if code['modified'] else ''}", True


def _package(name: str) -> Finding:
    try:
        return name, version(name), True
    except PackageNotFoundError:
        return name, f"not installed: run {install('train')} in a clone", False


def _optional(name: str, extra: str) -> Finding:
    """Report whether a package is installed; a missing one is fine, because commands that need it say so."""
    try:
        return name, version(name), True
    except PackageNotFoundError:
        return name, f"not installed; {install(extra)} in a clone adds it", True


def _processors() -> Finding:
    """Report the CPU count and the kernels' instruction set, which decides the last bits of results on CPU."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kernels = torch.backends.cpu.get_cpu_capability()
    python = platform.python_version()
    return "processors", f"{usable} usable, {platform.machine()} with {kernels} kernels, Python {python}", True


def _shared_memory(needed: float | None) -> Finding:
    """Report its size: nccl exchanges data between GPUs through it, and containers get 64 MiB by default."""
    if not SHARED_MEMORY.is_dir():
        return "shared memory", f"{SHARED_MEMORY}: does not exist", needed is None
    usage = shutil.disk_usage(SHARED_MEMORY)
    found = f"{SHARED_MEMORY}: {usage.total / GIB:.2f} GiB, {usage.free / GIB:.2f} GiB free"
    if needed is None or usage.total >= needed * GIB:
        return "shared memory", found, True
    return "shared memory", f"{found}; needs {needed:g} GiB", False


def _device(config: Config | None) -> Finding:
    import torch

    asked = "auto" if config is None else config.resources.device
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return "device", f"resources.device: {asked}; found {'1 GPU' if count == 1 else f'{count} GPUs'}", True
    return "device", f"resources.device: {asked}; torch finds no usable GPU", asked != "cuda"


def _tracking(config: Config | None) -> Finding:
    if config is not None and not config.tracking.enabled:
        return "MLflow", "off (tracking.enabled: false)", True
    uri = tracking_uri()
    try:
        import mlflow
    except ModuleNotFoundError as error:
        return "MLflow", str(unreachable(uri, error)), config is None and "MLFLOW_TRACKING_URI" not in os.environ
    quiet_mlflow()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return "MLflow", f"{uri}, created by the first run", True
    try:
        experiments = mlflow.MlflowClient(uri).search_experiments()
    except Exception as error:
        return "MLflow", str(unreachable(uri, error)), False
    return "MLflow", f"{redact(uri)}, {len(experiments)} experiments", True


def _object_store(bucket: str | None) -> Finding:
    """Check the store that `bucket` or the environment names."""
    named = [name for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE") if os.environ.get(name)]
    if bucket is None and not named:
        return "object store", "not requested (--bucket, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID)", True
    from bss.remote.object_store import check_bucket, check_credentials

    endpoint = redact(os.environ.get("AWS_ENDPOINT_URL") or "AWS")
    try:
        if bucket is None:
            return "object store", f"{endpoint} answers: {check_credentials()}", True
        check_bucket(bucket)
        return "object store", f"{endpoint} answers: {bucket} can be listed", True
    except BssError as error:
        return "object store", f"{endpoint}: {error}", False


def _data(config: Config) -> Finding:
    from bss.data.manifest_files import is_pattern, manifest_files

    if config.prepare.root.startswith(SCHEME):
        return _data_on_s3(config.prepare.root)
    manifest = Path(config.prepare.root) / config.prepare.manifest
    try:
        manifest_files(Path(config.prepare.root), config.prepare.manifest, config.prepare.links)
    except BssError as error:
        if config.generate.digits is not None:
            return "data", f"{manifest}: not generated yet; `dvc repro` will do it", True
        if is_pattern(config.prepare.manifest) or manifest.is_dir():
            return "data", "; ".join(line.strip() for line in str(error).splitlines()), False
    else:
        return "data", str(manifest), True
    return "data", f"{manifest}: not found; set prepare.root and prepare.manifest", False


def _data_on_s3(url: str) -> Finding:
    try:
        return "data", f"{url}: {len(list_objects(url))} objects", True
    except BssError as error:
        return "data", str(error), False
