"""`bss submit` over TLS: authorities of one's own, and certificates that cannot be verified."""

import datetime
import ipaddress
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubeflow_server import Server, serve
from submitting import IMAGE, in_project, submit  # noqa: F401  a fixture

from bss.config import BUILTIN

pytestmark = pytest.mark.process


def signed(folder, name, issuer=None):
    """Files of a certificate for `name` and its key, signed by `issuer`'s, or an authority's own without one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    by, by_key = (subject, key) if issuer is None else issuer
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), critical=False)
    )
    if issuer is None:
        made = made.add_extension(x509.KeyUsage(*[i in (5, 6) for i in range(9)]), critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    certificate, private = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.sign(by_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    return (certificate, private), (subject, key)


@pytest.fixture
def authority(tmp_path):
    """The authority's certificate, and the files of the server's certificate and key."""
    (certificate, _), issuer = signed(tmp_path, "authority")
    return certificate, signed(tmp_path, "127.0.0.1", issuer)[0]


def test_an_authority_of_ones_own_is_named_by_a_file_or_the_environment(authority, monkeypatch):
    certificate, files = authority
    server = Server(states=[("SUCCEEDED", [])])
    with serve(server, files) as address:
        assert submit(address, "--ca-file", certificate, "--wait") == 0
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert submit(address) == 0
    assert len(server.submitted) == 2


def test_a_certificate_of_an_unknown_authority_is_said(authority, capsys):
    with serve(Server(), authority[1]) as address:
        assert submit(address) == 1
    assert capsys.readouterr().err == (
        f"bss: {address}: its certificate cannot be verified (unable to get local issuer certificate). Name the file "
        "with the certificate of your authority with --ca-file, or in REQUESTS_CA_BUNDLE.\n"
    )


def test_a_certificate_for_another_name_is_said(tmp_path, capsys):
    (certificate, _), issuer = signed(tmp_path, "authority")
    files, _ = signed(tmp_path, "elsewhere.example.org", issuer)
    with serve(Server(), files) as address:
        assert submit(address, "--ca-file", certificate) == 1
    assert "its certificate cannot be verified (IP address mismatch" in capsys.readouterr().err


def test_https_where_there_is_http_is_said(capsys):
    with serve(Server()) as address:
        assert submit(address.replace("http", "https")) == 1
    assert "does not speak TLS. Is its address http:// instead of https://?" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["option", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_file_without_certificates_is_named(named, tmp_path, monkeypatch, capsys):
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    option = ("--ca-file", path) if named == "option" else ()
    if named != "option":
        monkeypatch.setenv(named, str(path))
    assert submit("https://127.0.0.1:1", *option) == 1
    assert f"{'--ca-file' if option else named} {path}: holds no certificate" in capsys.readouterr().err
    path.unlink()
    assert submit("https://127.0.0.1:1", *option) == 1
    assert f"{path}: not a file. Name the file with the certificate" in capsys.readouterr().err


def test_without_tls_the_environments_authorities_do_not_matter(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    server = Server()
    with serve(server) as address:
        assert submit(address) == 0
    assert len(server.submitted) == 1


def test_nothing_but_the_message_is_printed_by_a_process_of_its_own(authority):
    """Raw tracebacks and what kfp logs would show here."""
    with serve(Server(), authority[1]) as address:
        run = [sys.executable, "-c", "import sys; from bss.cli import main; sys.exit(main())", "submit"]
        command = [*run, "--endpoint", address, "--image", IMAGE]
        ended = subprocess.run([*command, "--params", str(BUILTIN)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
