from bss.addresses import redact


def test_users_and_passwords_are_left_out():
    assert redact("https://me:pw@host:1/x?a=b@c") == "https://***@host:1/x?a=b@c"
    assert redact("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    assert redact("no https://a:b@h/ and no https://c@h2/x") == "no https://***@h/ and no https://***@h2/x"
    assert redact("http://h/ wrote to me@example.org") == "http://h/ wrote to me@example.org"
