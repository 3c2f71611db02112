import pytest

from bss.redact import redact


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:pw@host:1/x?a=b@c", "https://***@host:1/x?a=b@c"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("no https://a:b@h/ and no https://c@h2/x", "no https://***@h/ and no https://***@h2/x"),
        ("http://h/ wrote to me@example.org", "http://h/ wrote to me@example.org"),
        ("https://me:p@ss@host/x", "https://***@host/x"),
        ("https://me:p/ss@host/x", "https://***@host/x"),
        ("https://me:p/s@s@host/x", "https://***@host/x"),
        ("https://host:5000/x@v1", "https://host:5000/x@v1"),
        ("https://host/x@v1/y", "https://host/x@v1/y"),
        ("mysql+pymysql://u:p%40ss@db:3306/mlflow", "mysql+pymysql://***@db:3306/mlflow"),
        ("https://h/x?token=abc&y=1", "https://h/x?token=***&y=1"),
        (
            "https://b/k?X-Amz-Credential=A%2F1&X-Amz-Signature=ff&z=2",
            "https://b/k?X-Amz-Credential=***&X-Amz-Signature=***&z=2",
        ),
        ("https://h/x?page=2&sort=name", "https://h/x?page=2&sort=name"),
        ("'https://me:pw@host/x' failed", "'https://***@host/x' failed"),
    ],
)
def test_users_passwords_and_tokens_are_left_out(address, shown):
    assert redact(address) == shown
