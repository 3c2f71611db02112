"""Addresses as they may be printed and recorded."""

import re


def redact(address: str) -> str:
    """Return `address`, or a text that holds addresses, without the users and passwords that they carry."""
    return re.sub(r"://[^/@\s]*@", "://***@", address)
