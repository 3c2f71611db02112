"""`bss submit` and what guards Kubeflow Pipelines: tokens, sessions, and servers that are too old."""

import json
import time

import pytest
from kubeflow_server import COOKIE, Server, serve
from submitting import in_project, submit  # noqa: F401  a fixture

from bss.errors import BssError
from pipelines.endpoint import read_cookies
from pipelines.refusals import server_words

pytestmark = pytest.mark.process
WORDS = 'Failed to create a new run: proto: (line 1:2): unknown field "optional"'


def refused(capsys, server, *more):
    """The one line that `bss submit` prints when it ends with 1."""
    with serve(server) as address:
        assert submit(address, *more) == 1
    assert server.submitted == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(("bss: ", f"bss: {address}"))
    return line.removeprefix("bss: ").removeprefix(f"{address}: ")


@pytest.fixture
def cookies(tmp_path):
    path = tmp_path / "cookies"
    path.write_text(f"Cookie: theme=dark; {COOKIE}=s3ssion\n")
    return path


def test_the_session_of_a_browser_lets_in(cookies, capsys):
    server = Server(session="s3ssion")
    with serve(server) as address:
        assert submit(address, "--cookie-file", cookies) == 0
    captured = capsys.readouterr()
    assert len(server.submitted) == 1
    assert "s3ssion" not in captured.out + captured.err + json.dumps(server.submitted)


GATES = [
    ("json", "refuses the session in {path} (status 401)."),
    ("page", "shows a login page (status 403)."),
    ("redirect", "leads to a login page (status 302, {address}/dex/auth)."),
]


@pytest.mark.parametrize(("gate", "message"), GATES)
def test_a_session_that_has_expired_is_said(gate, message, cookies, capsys):
    server = Server(session="another")
    server.gate = gate
    with serve(server) as address:
        assert submit(address, "--cookie-file", cookies) == 1
    assert capsys.readouterr().err == (
        f"bss: {address}: {message.format(path=cookies, address=address)} The session in {cookies} has expired or is "
        "of another site: log in with a browser and save its cookies there again.\n"
    )


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("json", "asks for a token (status 401)."),
        ("page", "shows a login page (status 403)."),
        ("redirect", "leads to a login page (status 302, "),
        ("rbac", "forbids this without a token (status 403)."),
    ],
)
def test_who_comes_without_credentials_is_asked_for_them(gate, message, capsys):
    server = Server(session="s3ssion")
    server.gate = gate
    line = refused(capsys, server)
    assert line.startswith(message)
    assert (
        "Give a valid one with --token-file or in KFP_TOKEN, or the session of a browser that has logged in with "
        "--cookie-file." in line
    )
    assert line.endswith("It says: RBAC: access denied") == (gate == "rbac")


def test_an_account_without_rights_is_refused_in_the_servers_words(tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text("right")
    server = Server(token="right")
    server.forbidden = True
    assert refused(capsys, server, "--token-file", path, "--namespace", "team") == (
        f"forbids this (status 403). The account of the token in {path} is known but has no rights in the namespace "
        "team: ask for the role kubeflow-edit. It says: Failed to list experiments: PermissionDenied: User "
        "'system:serviceaccount:team:default' is not authorized"
    )


def test_a_token_that_is_refused_is_named_by_its_file(tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text("old")
    assert refused(capsys, Server(token="new"), "--token-file", path) == (
        f"refuses the token in {path} (status 401). The token in {path} has expired or is for another audience: write "
        "a valid one there. It says: Jwt is expired"
    )


def test_a_pod_uses_the_token_that_kubernetes_gives_it(tmp_path, monkeypatch):
    path = tmp_path / "pods"
    path.write_text("of-the-pod")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    server = Server(token="of-the-pod")
    with serve(server) as address:
        assert submit(address) == 0
    assert len(server.submitted) == 1


def test_several_users_need_a_namespace(tmp_path, capsys):
    server = Server()
    server.multi_user = True
    line = refused(capsys, server)
    assert line.startswith("--namespace: not given, but http://")
    assert line.endswith("has several users. Name the namespace of your profile.")
    (tmp_path / "namespace").write_text("of-the-pod\n")
    with serve(server) as address:
        assert submit(address) == 0
        assert submit(address, "--namespace", "mine") == 0
    assert "namespace=of-the-pod" in server.namespaces[0]
    assert "namespace=mine" in server.namespaces[-1]


def test_the_servers_words_are_whole_where_they_quote(capsys):
    server = Server()
    server.refusal = WORDS
    assert refused(capsys, server) == f"Kubeflow Pipelines refused: {WORDS}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (json.dumps({"message": 'unknown field "a"', "error": "x"}), 'unknown field "a"'),
        (json.dumps({"error": "only\n this"}), "only this"),
        (json.dumps(["nothing"]), ""),
        ("upstream connect error", "upstream connect error"),
        ("<html>no</html>", ""),
        ("", ""),
        (json.dumps({"message": "a" * 700}), "a" * 600 + " ..."),
    ],
)
def test_the_words_of_a_server(body, words):
    assert server_words(body) == words


@pytest.mark.parametrize(
    ("tag", "missing"),
    [
        ("2.0.5", "take the image of a step as a parameter or collect artifacts from a parallel loop or leave out"),
        ("2.5.0", "collect artifacts from a parallel loop or leave out keys that the secret has not"),
        ("v2.14.3", "leave out keys that the secret has not"),
    ],
)
@pytest.mark.parametrize("ready", [None, True])
def test_a_server_that_is_too_old_is_said_before_anything_else(tag, missing, ready, capsys):
    server = Server(tag=tag)
    server.ready = ready
    line = refused(capsys, server)
    assert line.startswith(f"is Kubeflow Pipelines {tag}, which cannot {missing}")
    assert line.endswith("The pipeline needs 2.15 or newer.")


@pytest.mark.parametrize("tag", ["2.15.0", "2.17.0", "3.0.0", "2.15.0-rc.1", "unknown", ""])
def test_servers_that_are_new_enough_or_do_not_say(tag):
    server = Server(tag=tag)
    with serve(server) as address:
        assert submit(address) == 0
    assert len(server.submitted) == 1


def test_a_security_context_needs_a_newer_server(tmp_path, capsys):
    path = tmp_path / "cluster.yaml"
    path.write_text("security_context: {run_as_non_root: true}\ntrain: {gpus: 1}\n")
    line = refused(capsys, Server(tag="2.15.0"), "--cluster", path)
    assert "security_context in cluster.yaml needs 2.16 or newer" in line


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://me:s3cret@h", "--endpoint http://***@h: holds a password. Use --token-file or --cookie-file."),
        ("http://h/pipeline/#/runs", "--endpoint http://h/pipeline/#/runs: remove the part that begins with # or ?"),
        ("http://h/_/pipeline/?ns=team", "remove the part that begins with # or ?"),
    ],
)
def test_an_address_with_more_than_the_endpoint_is_refused(url, message, capsys):
    assert submit(url) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "message"), [("", "Full installations have it below /pipeline."), ("/pipeline", "without /pipeline.")]
)
def test_another_path_is_suggested(path, message, capsys):
    class Elsewhere(Server):
        def health(self):
            return 404, {}

    with serve(Elsewhere()) as address:
        assert submit(address + path) == 1
    assert message in capsys.readouterr().err


def test_an_address_that_has_moved_is_given(capsys):
    class Moved(Server):
        def gateway(self, path, headers):
            return 301, {"location": f"https://kubeflow.example.org{path}"}, ""

    assert refused(capsys, Moved()) == "has moved (status 301). Use --endpoint https://kubeflow.example.org."


def test_a_proxy_that_gives_no_connection_is_named(monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert submit("http://kubeflow.example.org") == 1
    assert "the proxy in HTTP_PROXY or HTTPS_PROXY cannot reach it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("token", "message"),
    [("a b", "KFP_TOKEN: holds more than one word"), ("tökén", "contains characters that are invalid")],
)
def test_a_token_in_the_environment_is_checked(token, message, monkeypatch, capsys):
    monkeypatch.setenv("KFP_TOKEN", token)
    assert submit("http://127.0.0.1:1") == 1
    assert message in capsys.readouterr().err


def test_a_ui_without_its_server_is_said(capsys):
    server = Server()
    server.ready = False
    assert refused(capsys, server).startswith("its UI answers, but not the API server behind it.")


@pytest.mark.parametrize(("text", "message"), [("", "holds nothing"), ("a b\n", "holds more than one word")])
def test_a_file_without_a_token_is_named(text, message, tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text(text)
    assert submit("http://127.0.0.1:1", "--token-file", path) == 1
    assert f"--token-file {path}: {message}" in capsys.readouterr().err


def jar(tmp_path, expires):
    path = tmp_path / "cookies.txt"
    own = f"#HttpOnly_kubeflow.example.org\tFALSE\t/\tFALSE\t{expires}\t{COOKIE}\ts3ssion"
    other = "other.example.org\tFALSE\t/\tFALSE\t0\tforeign\tx"
    path.write_text("\n".join(["# Netscape HTTP Cookie File", own, other, ""]))
    return path


def test_cookies_may_be_in_netscapes_format(tmp_path):
    path = jar(tmp_path, int(time.time()) + 3600)
    assert read_cookies(path, "https://kubeflow.example.org/pipeline") == f"{COOKIE}=s3ssion"
    assert read_cookies(path, "http://other.example.org") == "foreign=x"  # 0 stands for the end of the session
    with pytest.raises(BssError, match=r"has 2 cookies \(0 expired\), and none for https://elsewhere"):
        read_cookies(path, "https://elsewhere.example.org")


def test_cookies_that_have_expired_are_said(tmp_path):
    with pytest.raises(BssError, match=r"has 2 cookies \(1 expired\), and none for https://kubeflow"):
        read_cookies(jar(tmp_path, 1000), "https://kubeflow.example.org/pipeline")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no cookies"),
        ("a token", "holds no cookies"),
        ("a=b\nc=d", "holds no cookies"),
        ("a\tb", "format"),
        ("a=é", "invalid in a cookie"),
    ],
)
def test_a_file_without_cookies_is_named(text, message, tmp_path):
    path = tmp_path / "cookies"
    path.write_text(text)
    with pytest.raises(BssError, match=f"--cookie-file {path}: .*{message}"):
        read_cookies(path, "https://kubeflow.example.org")


def test_a_token_and_a_session_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as caught:
        submit("http://127.0.0.1:1", "--token-file", "a", "--cookie-file", "b")
    assert caught.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err
