"""Which extra installs which module, so that the message about a missing one says what to install."""

EXTRAS = {
    "train": (
        *(
            "PIL",
            "huggingface_hub",
            "jinja2",
            "markupsafe",
            "matplotlib",
            "pyarrow",
            "pydantic",
            "rich",
            "ruamel",
            "safetensors",
        ),
        *("scipy", "sklearn", "soundfile", "soxr", "threadpoolctl", "tokenizers", "transformers"),
    ),
    "video": ("av", "cv2"),
    "lora": ("peft",),
    "tracking": ("mlflow", "pandas", "requests"),
    "s3": ("boto3", "botocore", "s3transfer"),
    "dvc": ("dvc", "dvc_data", "fsspec"),
    "kubeflow": ("docker", "docstring_parser", "kfp", "kfp_server_api", "kubeflow", "urllib3"),
}
"""Per extra of pyproject.toml, which of the modules that bss imports it installs. numpy and torch need no extra."""


def extra_of(module: str | None) -> str | None:
    """Return the extra that installs `module`, such as ``"av.stream"``; None if no extra does."""
    package = (module or "").partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def not_installed(module: str | None) -> str:
    """Return in one line that the package of `module`, such as ``"av.stream"``, is missing, and how to install it."""
    package = (module or "a package").partition(".")[0]
    extra = extra_of(module)
    if extra is None:
        return f"{package} is not installed: run `make setup` in a clone"
    return f"{package} is not installed: run {install(extra)} in a clone"


def install(extra: str) -> str:
    """Return the command that installs `extra` in a clone, in backquotes."""
    return f"`pip install -c requirements.lock '.[{extra}]'`"
