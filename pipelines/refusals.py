"""Error answers of an endpoint, and what to do about them, in one line."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from bss.errors import BssError

if TYPE_CHECKING:
    from pipelines.endpoint import Endpoint

LONGEST = 600
"""Letters of a server's own words."""
REDIRECTS = (301, 302, 303, 307, 308)
LOGIN = re.compile(r"password|\blog ?in\b|\bsign ?in\b|/dex/|/oauth2/", re.IGNORECASE)
"""What pages for logging in have in them."""
FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, then --endpoint http://localhost:8080"


class RefusedError(BssError):
    """An answer that is not the one to a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status."""


def unreachable(endpoint: "Endpoint", error: Exception) -> BssError:
    """Return the message for an endpoint with which no connection comes about."""
    reason = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        found = re.search(r"certificate verify failed: ([^(]*)", reason)
        why = f" ({found.group(1).strip()})" if found else ""
        return BssError(
            f"{endpoint.url}: its certificate cannot be verified{why}. Name the file with the certificate of your "
            "authority with --ca-file, or in REQUESTS_CA_BUNDLE."
        )
    if "ProxyError" in type(error).__name__ or "ProxyError" in reason:
        return BssError(
            f"{endpoint.url}: the proxy in HTTP_PROXY or HTTPS_PROXY cannot reach it. Correct it, or "
            "add the address to NO_PROXY."
        )
    if "SSLError" in type(error).__name__ or "[SSL" in reason:
        return BssError(f"{endpoint.url}: does not speak TLS. Is its address http:// instead of https://?")
    return BssError(
        f"{endpoint.url}: does not answer ({type(error).__name__}). Is it the address of Kubeflow Pipelines? "
        f"From outside the cluster: {FORWARD}."
    )


def refusal(endpoint: "Endpoint", status: int, headers: Mapping[str, str], body: str, url: str) -> RefusedError:
    """Return the message for an answer that is not the one to a request to `url`."""
    return RefusedError(f"{endpoint.url}: {_describe(endpoint, status, headers, body, url)}", status)


def _describe(endpoint: "Endpoint", status: int, headers: Mapping[str, str], body: str, url: str) -> str:
    html = "html" in (headers.get("content-type") or "")
    words = "" if html else server_words(body)
    said = f" It says: {words}" if words else ""
    asked = _credentials(endpoint)
    if status in REDIRECTS:
        return _redirect(endpoint, status, url, urljoin(url, headers.get("location") or ""))
    if html and status in (200, 401, 403) and LOGIN.search(body):
        return f"shows a login page (status {status}). {_fix(endpoint)}"
    if status == HTTPStatus.UNAUTHORIZED:
        return f"{f'refuses {asked}' if asked else 'asks for a token'} (status 401). {_fix(endpoint)}{said}"
    if status == HTTPStatus.FORBIDDEN:
        return f"{'forbids this' if asked else 'forbids this without a token'} (status 403). {_rights(endpoint)}{said}"
    if words and status >= HTTPStatus.BAD_REQUEST and status != HTTPStatus.NOT_FOUND:
        return f"Kubeflow Pipelines refused: {words}"
    elsewhere = (
        "A port-forward has it without" if endpoint.url.endswith("/pipeline") else "Full installations have it below"
    )
    return f"answers, but not as Kubeflow Pipelines 2 does (status {status} for {url}). {elsewhere} /pipeline.{said}"


def _redirect(endpoint: "Endpoint", status: int, url: str, location: str) -> str:
    """Describe a redirect: to the same path elsewhere it gives a better address, otherwise it leads to a login."""
    asked, there = urlsplit(url), urlsplit(location)
    if asked.path == there.path:
        better = location.removesuffix(url.removeprefix(endpoint.url))
        return f"has moved (status {status}). Use --endpoint {better}."
    address = f"{there.scheme}://{there.netloc}{there.path}"
    return f"leads to a login page (status {status}, {address}). {_fix(endpoint)}"


def server_words(body: str) -> str:
    """Return a server's error on one line: the message of its JSON, or its text if it is short."""
    try:
        found = json.loads(body)
    except ValueError:
        words = "" if "<" in body or len(body) > LONGEST else body
    else:
        words = (found.get("message") or found.get("error") or "") if isinstance(found, dict) else ""
    words = " ".join(str(words).split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."


def _credentials(endpoint: "Endpoint") -> str:
    """Return how the endpoint was asked; "" without credentials."""
    if endpoint.cookie_file is not None:
        return f"the session in {endpoint.cookie_file}"
    if endpoint.token_file is not None:
        return f"the token in {endpoint.token_file}"
    return "this token" if endpoint.token else ""


def _fix(endpoint: "Endpoint") -> str:
    if endpoint.cookie_file is not None:
        return (
            f"The session in {endpoint.cookie_file} has expired or is of another site: log in with a browser and "
            "save its cookies there again."
        )
    if endpoint.token_file is not None:
        return f"The token in {endpoint.token_file} has expired or is for another audience: write a valid one there."
    if endpoint.token:
        return "Give a valid one with --token-file or in KFP_TOKEN."
    return (
        "Give a valid one with --token-file or in KFP_TOKEN, or the session of a browser that has logged in with "
        "--cookie-file."
    )


def _rights(endpoint: "Endpoint") -> str:
    who = _credentials(endpoint)
    if not who:
        return _fix(endpoint)
    where = f"in the namespace {endpoint.namespace}" if endpoint.namespace else "there; perhaps --namespace is missing"
    return f"The account of {who} is known but has no rights {where}: ask for the role kubeflow-edit."
