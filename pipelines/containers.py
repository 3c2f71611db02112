"""Run one step in a Docker container, for kfp.local's DockerRunner."""

import codecs
from collections.abc import Sequence
from typing import Any

from bss.errors import BssError


def connect() -> Any:
    """Return a client of the Docker engine at DOCKER_HOST or the default socket.

    Raises `BssError` if none answers.
    """
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise BssError(
            f"Docker does not answer: {error}. Start the engine, or set DOCKER_HOST to its socket; without Docker "
            "the same pipeline runs as processes: `make kubeflow-local`."
        ) from error
    return client


def find_image(client: Any, image: str) -> Any:
    """Return the engine's image `image`; raise `BssError` if it does not exist."""
    import docker

    try:
        return client.images.get(image)
    except docker.errors.ImageNotFound as error:
        raise BssError(f"{image}: the Docker engine has no such image. `make image` builds one.") from error


def run_container(client: Any, image: str, command: Sequence[str], volumes: dict[str, Any], **settings: Any) -> int:
    """Run `command` in a new container of `image`, stream its log, and return its exit status.

    kfp 2.17's own function lets the engine remove the container as soon as it ends, and counts a missing
    status as success. Here it is removed after its status was read, whatever happens meanwhile.
    """
    container = client.containers.create(image, command=list(command), volumes=volumes, **settings)
    try:
        container.start()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        shown = 0
        for chunk in container.logs(stream=True, follow=True):
            print(decoder.decode(chunk), end="", flush=True)
            shown += len(chunk)
        status = int(container.wait()["StatusCode"])
        # An engine under load stops following at the container's end, before the last lines.
        for chunk in container.logs(stream=True, follow=False):
            print(decoder.decode(chunk[shown:]), end="", flush=True)
            shown = max(0, shown - len(chunk))
        return status
    finally:
        container.remove(force=True)
