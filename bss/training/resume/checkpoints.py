"""Checkpoints of one trial: written atomically, verified before use, the last few kept."""

import hashlib
import io
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from bss.config.resources import CheckpointsConfig
from bss.console import make_console
from bss.errors import BssError
from bss.files import sync_folder
from bss.full_disk import on_disk
from bss.training.resume.remote_checkpoints import NAME, CheckpointStore


def checkpoints_folder(trial: Path) -> Path:
    """Return the folder of the checkpoints of the trial whose own folder is `trial`."""
    return trial.with_name(f".{trial.name}.checkpoints")


def checkpoint_store(key: str, config: CheckpointsConfig) -> CheckpointStore | None:
    """Return the S3 URL of the trial with digest `key`, or None without a store."""
    if config.store is None:
        return None
    return CheckpointStore(f"{config.store.rstrip('/')}/{key}", config.keep, _say)


class Checkpoints:
    """The checkpoints of one trial in `folder`; `key` is the digest of everything that decides the trial."""

    def __init__(self, folder: Path, key: str, config: CheckpointsConfig) -> None:
        self.folder, self.key, self.config = folder, key, config
        self.store = checkpoint_store(key, config)
        self._last_time, self._last_steps = time.monotonic(), 0

    def due(self, steps: int) -> bool:
        """Return whether a checkpoint is due after `steps` steps of the trial."""
        by_time = self.config.minutes is not None and time.monotonic() - self._last_time >= 60 * self.config.minutes
        by_steps = self.config.steps is not None and steps - self._last_steps >= self.config.steps
        return by_time or by_steps

    def save(self, state: dict[str, Any], steps: int) -> None:
        """Write `state` (tensors, numbers, texts, lists, dicts) and remove all but the last few.

        A process killed meanwhile leaves the previous ones intact.
        """
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": state}, buffer)
        content = buffer.getvalue()
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / "unfinished"
        try:
            with on_disk(self.folder, len(content)), unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BssError:
            unfinished.unlink()
            raise
        name = f"{steps:012d}-{hashlib.sha256(content).hexdigest()}.pt"
        unfinished.rename(self.folder / name)
        sync_folder(self.folder)
        sync_folder(self.folder.parent)  # the folder may be new
        for path in self._found()[: -self.config.keep]:
            path.unlink()
        if self.store is not None:
            self.store.upload(name, content)
        self.saved(steps)

    def saved(self, steps: int) -> None:
        """Restart the interval to the next one; for ranks that do not write it themselves."""
        self._last_time, self._last_steps = time.monotonic(), steps

    def latest(self) -> dict[str, Any] | None:
        """Return the newest valid state of this trial, or None; nothing in it is unpickled.

        Damaged ones are skipped with a message. Those of another trial are removed. One on the object
        store is used if it is newer; raises `BssError` if the store does not answer.
        """
        steps, saved = self._latest_here()
        newer = None if self.store is None else self.store.newest(after=steps)
        if newer is not None:
            steps, saved = newer[0], _loaded(newer[1])
        if saved is None:
            return None
        self.saved(steps)
        _say(f"Training resumes after {steps} steps: {self.folder if newer is None else self.config.store}")
        state: dict[str, Any] = saved["state"]
        return state

    def _latest_here(self) -> tuple[int, dict[str, Any] | None]:
        """Return steps and content of the newest valid one on this disk; (-1, None) without any."""
        for path in reversed(self._found()):
            saved = _read(path)
            if saved is None:
                continue
            if saved["key"] != self.key:
                _say(f"{path.parent}: made with other data, parameters or code; training starts from scratch.")
                self._remove_here()
                return -1, None
            return int(path.name[:12]), saved
        return -1, None

    def wait(self) -> None:
        """Wait until the last one is uploaded to the object store, or has failed."""
        if self.store is not None:
            self.store.wait()

    def remove(self) -> None:
        """Remove all checkpoints: the trial is finished."""
        self._remove_here()
        if self.store is not None:
            self.store.remove()

    def _remove_here(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.pt") if NAME.fullmatch(path.name))


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of the checkpoint at `path`; None, with a message, if it is damaged."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != path.stem[13:]:
            raise ValueError(f"{len(content)} bytes that do not match the digest")
        return _loaded(content)
    except Exception as error:  # UnpicklingError for anything but tensors and plain values, and many more
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        _say(f"{path}: damaged ({why}); using the previous one.")
        return None


def _loaded(content: bytes) -> dict[str, Any]:
    """Return the content of a checkpoint without unpickling; raise for anything but a checkpoint."""
    saved = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    if not (isinstance(saved, dict) and set(saved) == {"key", "state"} and isinstance(saved["state"], dict)):
        raise ValueError("not a training checkpoint")
    return saved


def _say(line: str) -> None:
    make_console().print(line, highlight=False, markup=False, soft_wrap=True)
