"""Kubeflow Pipelines behind what guards it: a token, the session of a browser, certificates of one's own."""

import http.cookiejar
import os
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.redact import redact
from pipelines.refusals import refusal, unreachable

TIMEOUT = 15
"""Seconds after which an endpoint that says nothing is given up."""
TOKEN = "KFP_TOKEN"
"""Environment variable with a bearer token."""
POD_TOKEN = ("KF_PIPELINES_SA_TOKEN_PATH", "/var/run/secrets/kubeflow/pipelines/token")
"""Where a pod finds its own token for Kubeflow Pipelines: the variable with its path, and the path without it."""
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Environment variables with the file of certificate authorities, the first first."""


@dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines answers, and how one gets in; files are read again for every request."""

    url: str
    """Address of the API, such as http://localhost:8080 or https://kubeflow.example.org/pipeline."""
    namespace: str | None = None
    """Profile namespace of a multi-user installation."""
    token: str | None = None
    """Bearer token, unless there is a file."""
    token_file: Path | None = None
    """File with a bearer token, such as the one that Kubernetes renews in a pod."""
    cookie_file: Path | None = None
    """File with the cookies of a browser that has logged in: a Cookie header, or Netscape's format."""
    ca_file: Path | None = None
    """Certificate authorities in PEM; None takes the public ones."""

    def bearer(self) -> str | None:
        """Return the token of this moment, or None; `BssError` if its file has none."""
        return self.token if self.token_file is None else read_token(self.token_file)

    def cookies(self) -> str | None:
        """Return the Cookie header of this moment, or None; `BssError` if the file has no cookie for `url`."""
        return None if self.cookie_file is None else read_cookies(self.cookie_file, self.url)

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object that the API has at `path`; `BssError` says what came instead of it."""
        import requests

        token, cookies = self.bearer(), self.cookies()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Cookie": cookies} if cookies else {}
        verify = True if self.ca_file is None else str(self.ca_file)
        url = f"{self.url}{path}"
        try:
            answer = requests.get(url, headers=headers, timeout=TIMEOUT, allow_redirects=False, verify=verify)
            found = answer.json() if answer.ok and "json" in answer.headers.get("content-type", "") else None
        except requests.JSONDecodeError:
            found = None
        except (requests.RequestException, OSError) as error:
            raise unreachable(self, error) from error
        if not isinstance(found, dict):
            raise refusal(self, answer.status_code, answer.headers, answer.text, url)
        return found


def read_token(path: Path) -> str:
    """Return the token in `path`; `BssError` if the file has none."""
    return _token(f"--token-file {path}", _read("--token-file", path))


def _token(source: str, text: str) -> str:
    token = text.strip()
    if not token or any(character.isspace() for character in token):
        raise BssError(f"{source}: holds {'nothing' if not token else 'more than one word'}, not a token.")
    if not token.isascii():
        raise BssError(f"{source}: contains characters that are invalid in a token, such as {_strange(token)!r}.")
    return token


def _strange(text: str) -> str:
    return next(character for character in text if not character.isascii())


def read_cookies(path: Path, url: str) -> str:
    """Return the Cookie header for `url` from a file with that header, or with cookies in Netscape's format.

    Raises `BssError` if the file has no cookie, or all of those for `url` have expired.
    """
    text = _read("--cookie-file", path).strip().removeprefix("Cookie:").strip()
    if "\t" in text:
        return _from_jar(path, url)
    pairs = [pair.strip() for pair in text.split(";") if pair.strip()]
    if not pairs or not all(pair.partition("=")[0].strip() and "=" in pair for pair in pairs) or "\n" in text:
        raise BssError(
            f"--cookie-file {path}: holds no cookies. Put the Cookie header of a browser that has logged in there, "
            "such as oauth2_proxy_kubeflow=..., or cookies in Netscape's format, as `curl --cookie-jar` writes them."
        )
    if not text.isascii():
        strange = _strange(text)
        raise BssError(f"--cookie-file {path}: contains characters that are invalid in a cookie, such as {strange!r}.")
    return "; ".join(pairs)


def _from_jar(path: Path, url: str) -> str:
    jar, request = http.cookiejar.MozillaCookieJar(), urllib.request.Request(url)
    try:
        jar.load(str(path), ignore_discard=True, ignore_expires=True)
    except (http.cookiejar.LoadError, OSError) as error:
        first = "# Netscape HTTP Cookie File"
        raise BssError(f"--cookie-file {path}: not in Netscape's format, whose first line is `{first}`.") from error
    for cookie in jar:
        cookie.expires = cookie.expires or None  # curl's 0 stands for the end of the session
    known, expired = len(jar), [cookie for cookie in jar if cookie.is_expired()]
    jar.add_cookie_header(request)  # without those that have expired
    header = request.get_header("Cookie")
    if header is None:
        found = f"{known} cookies ({len(expired)} expired)" if known else "no cookies"
        raise BssError(f"--cookie-file {path}: has {found}, and none for {url}. Log in again and save its cookies.")
    return header


def _read(option: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BssError(f"{option} {path}: cannot be read ({error}).") from error


def make_endpoint(
    url: str, namespace: str | None, token_file: Path | None, cookie_file: Path | None, ca_file: Path | None
) -> Endpoint:
    """Return the endpoint `url` with what the options and the environment say of it.

    Without a token and cookies that is the token of the pod around this process, if it has one. Raises `BssError`
    for a file with other content.
    """
    if not url.startswith(("http://", "https://")):
        raise BssError(f"--endpoint {url}: must begin with http:// or https://.")
    if redact(url) != url:
        raise BssError(f"--endpoint {redact(url)}: holds a password. Use --token-file or --cookie-file.")
    if "#" in url or "?" in url:
        raise BssError(f"--endpoint {url}: remove the part that begins with # or ?; it belongs to the UI.")
    found = None if cookie_file or token_file else os.environ.get(TOKEN)
    token = _token(TOKEN, found) if found else None
    if not (token or cookie_file or token_file):
        pods = Path(os.environ.get(POD_TOKEN[0], POD_TOKEN[1]))
        token_file = pods if pods.is_file() else None
    variables = CA_VARIABLES if url.startswith("https:") else ()
    authorities = _authorities(ca_file, {name: os.environ[name] for name in variables if os.environ.get(name)})
    endpoint = Endpoint(url.rstrip("/"), namespace, token, token_file, cookie_file, authorities)
    endpoint.bearer()
    endpoint.cookies()
    return endpoint


def _authorities(option: Path | None, variables: Mapping[str, str]) -> Path | None:
    """Return the file of certificate authorities; `BssError` if it holds none."""
    names = [(name, Path(path)) for name, path in variables.items()]
    for name, path in [("--ca-file", option), *names]:
        if path is not None:
            try:
                ssl.create_default_context(cafile=str(path))
            except OSError as error:  # ssl.SSLError too
                what = "holds no certificate" if path.is_file() else "not a file"
                fix = "Name the file with the certificate of your authority, in PEM."
                raise BssError(f"{name} {path}: {what}. {fix}") from error
            return path
    return None
