"""The Kubeflow Pipelines that answers: its version, and the client that submits to it."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bss.errors import BssError
from pipelines.endpoint import Endpoint
from pipelines.refusals import refusal, unreachable

HEALTH = "/apis/v2beta1/healthz"
VERSION = re.compile(r"v?(\d+)\.(\d+)\b")
NEEDS = (
    ((2, 4), "take the image of a step as a parameter"),
    ((2, 14), "collect artifacts from a parallel loop"),
    ((2, 15), "leave out keys that the secret has not"),
)
"""What the pipeline needs besides, and the version of the backend that brought it."""
SECURITY_CONTEXT = (2, 16)
"""Version that knows the security context of a step."""
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace that it is in."""


@dataclass(frozen=True)
class Server:
    """What an installation says of itself."""

    tag: str
    """Version, such as 2.17.0; "" if unknown."""
    multi_user: bool
    """Whether runs belong to the namespace of a profile."""


def ask_server(endpoint: Endpoint) -> Server:
    """Return the server at `endpoint`; `BssError` if none answers, or another service does."""
    found = endpoint.get(HEALTH)
    # The UI answers for itself, with other names for what its API server has said.
    if found.get("apiServerReady") is False:
        raise BssError(
            f"{endpoint.url}: its UI answers, but not the API server behind it. Wait until the deployment ml-pipeline "
            "in the namespace kubeflow is ready."
        )
    tag = found.get("tag_name") or found.get("apiServerTagName") or ""
    return Server(str(tag), found.get("multi_user") is True)


def require_version(endpoint: Endpoint, server: Server, security_context: bool) -> None:
    """Raise `BssError` if the backend is too old for the pipeline; an unknown version is let through."""
    found = VERSION.match(server.tag)
    if found is None:
        return
    version = (int(found.group(1)), int(found.group(2)))
    missing = [what for needed, what in NEEDS if version < needed]
    if missing:
        raise BssError(
            f"{endpoint.url}: is Kubeflow Pipelines {server.tag}, which cannot {' or '.join(missing)}. "
            f"The pipeline needs {_shown(NEEDS[-1][0])} or newer."
        )
    if security_context and version < SECURITY_CONTEXT:
        raise BssError(
            f"{endpoint.url}: is Kubeflow Pipelines {server.tag}, and security_context in cluster.yaml needs "
            f"{_shown(SECURITY_CONTEXT)} or newer. Leave it out, or upgrade."
        )


def _shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def find_namespace(endpoint: Endpoint, server: Server) -> str | None:
    """Return the namespace of the run: the one that was named, or that of the pod around this process.

    Raises `BssError` if the installation has several and none is known.
    """
    if endpoint.namespace is None and server.multi_user:
        try:
            return POD_NAMESPACE.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise BssError(
                f"--namespace: not given, but {endpoint.url} has several users. Name the namespace of your profile."
            ) from error
    return endpoint.namespace


def make_client(endpoint: Endpoint, namespace: str | None) -> Any:
    """Return kfp's own client for `endpoint`."""
    import kfp
    import requests
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    scheme = endpoint.url.partition(":")[0]
    token_file = endpoint.token_file
    return kfp.Client(
        host=endpoint.url,
        existing_token=endpoint.token,
        credentials=None if token_file is None else ServiceAccountTokenVolumeCredentials(str(token_file)),
        cookies=endpoint.cookies(),
        ssl_ca_cert=None if endpoint.ca_file is None else str(endpoint.ca_file),
        proxy=requests.utils.get_environ_proxies(endpoint.url).get(scheme),
        namespace=namespace or "kubeflow",
    )


@contextlib.contextmanager
def plain_refusals(endpoint: Endpoint) -> Iterator[None]:
    """Raise what kfp's client raises as a `BssError` of one line, and keep what it prints and logs to itself."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except BssError:
        raise
    except ApiException as error:
        if not error.status:  # what its client says of TLS
            raise unreachable(endpoint, error) from error
        body = error.body if isinstance(error.body, str) else ""
        raise refusal(endpoint, error.status, error.headers or {}, body, endpoint.url) from error
    except (HTTPError, OSError) as error:
        raise unreachable(endpoint, error) from error
    except Exception as error:
        words = " ".join(str(error).split())[:400]
        raise BssError(f"{endpoint.url}: the client of Kubeflow Pipelines does not understand it: {words}") from error
    finally:
        logging.disable(before)
