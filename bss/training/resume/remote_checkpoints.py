"""Checkpoints on an object store: a trial whose disk is lost resumes from there on another machine."""

import hashlib
import io
import json
import re
import threading
from collections.abc import Callable
from typing import Any

from bss.errors import BssError
from bss.remote.object_store import connect, explain, read_object, remove_folder, split_url, transfers

NAME = re.compile(r"(\d{12})-([0-9a-f]{64})\.pt")
"""Number of steps, and sha256 of the content."""
NOTE = "run.json"


class CheckpointStore:
    """The checkpoints of one trial below `url`, s3://bucket/prefix; `say` gets a line if the store fails.

    Each appears atomically under its own key. A separate thread uploads them one by one, and
    a newer checkpoint replaces a pending one, so a trial never waits for a slow store.
    """

    def __init__(self, url: str, keep: int, say: Callable[[str], None]) -> None:
        self.url, self.keep, self.say = url, keep, say
        bucket, prefix = split_url(url)
        self._bucket, self._prefix = bucket, prefix + "/"
        self._changed = threading.Condition()
        self._waiting: tuple[str, bytes] | None = None
        self._sending = False
        self._thread: threading.Thread | None = None

    def upload(self, name: str, content: bytes) -> None:
        """Queue the upload of `content` under `name` (steps and digest); return immediately."""
        with self._changed:
            self._waiting = (name, content)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="checkpoint-upload")
                self._thread.start()

    def wait(self) -> None:
        """Wait until the last `upload` has finished or failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._sending)

    def newest(self, after: int) -> tuple[int, bytes] | None:
        """Return steps and content of the newest valid checkpoint with more than `after` steps, or None.

        Raises `BssError` if the store does not answer: starting from scratch would throw work away.
        """
        with explain(self.url):
            client = connect()
            for name in reversed(self._names(client)):
                match = NAME.fullmatch(name)
                assert match is not None
                if int(match[1]) <= after:
                    return None
                content = read_object(client, self._bucket, self._prefix + name)
                if hashlib.sha256(content).hexdigest() == match[2]:
                    return int(match[1]), content
                self.say(f"{self.url}/{name}: damaged, {len(content)} bytes; using the previous one.")
        return None

    def write_note(self, note: dict[str, str]) -> None:
        """Store a small note next to the checkpoints. Upload errors are logged, never raised."""
        try:
            with explain(self.url):
                connect().put_object(Bucket=self._bucket, Key=self._prefix + NOTE, Body=json.dumps(note).encode())
        except BssError as error:
            self.say(f"{error}\nTraining continues.")

    def read_note(self) -> dict[str, str] | None:
        """Return the note, or None."""
        with explain(self.url):
            client = connect()
            found = client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + NOTE).get("Contents", [])
            if not found:
                return None
            note: dict[str, str] = json.loads(read_object(client, self._bucket, self._prefix + NOTE))
            return note

    def remove(self) -> None:
        """Remove all checkpoints. If the store fails, log it and leave them: no other trial uses them."""
        with self._changed:
            self._waiting = None
        self.wait()
        try:
            remove_folder(self.url)
        except BssError as error:
            self.say(f"{error}\nThe checkpoints of a finished trial remain there.")

    def _names(self, client: Any) -> list[str]:
        pages = client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
        names = [item["Key"].removeprefix(self._prefix) for page in found for item in page.get("Contents", [])]
        return sorted(name for name in names if NAME.fullmatch(name))

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._waiting is None:
                    self._thread = None
                    return
                (name, content), self._waiting, self._sending = self._waiting, None, True
            try:
                with explain(self.url):
                    client = connect()
                    client.upload_fileobj(io.BytesIO(content), self._bucket, self._prefix + name, Config=transfers())
                    for old in self._names(client)[: -self.keep]:
                        client.delete_object(Bucket=self._bucket, Key=self._prefix + old)
            except Exception as error:
                self.say(f"{error}\nTraining continues and will retry with the next checkpoint.")
            finally:
                del content
                with self._changed:
                    self._sending = False
                    self._changed.notify_all()
