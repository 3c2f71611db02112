"""Addresses as they may be printed and recorded."""

import re

_USER = re.compile(r"://[^/\s'\"]*@")
_PASSWORD_WITH_SLASH = re.compile(r"://[^/\s:@]*:(?!\d{1,5}(?:[/?#\s]|$))[^\s'\"]*@")
"""Unless a port follows the colon: then it is the host's."""
_PARAMETER = re.compile(
    r"([?&][\w.-]*(?:token|secret|passw(?:or)?d|pwd|credential|signature|sig|api[_-]?key|access[_-]?key)[\w.-]*=)[^&\s#'\"]+",
    re.IGNORECASE,
)


def redact(address: str) -> str:
    """Return `address`, or a text that holds addresses, without the users, passwords and tokens that they carry.

    A password may have been written with an @ or a slash in it, which an address should not have.
    """
    address = _PASSWORD_WITH_SLASH.sub("://***@", _USER.sub("://***@", address))
    return _PARAMETER.sub(r"\1***", address)
