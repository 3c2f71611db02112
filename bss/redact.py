"""Remove credentials from URLs before they are printed or recorded."""

import re

_USER = re.compile(r"://[^/\s'\"]*@")
_PASSWORD_WITH_SLASH = re.compile(r"://[^/\s:@]*:(?!\d{1,5}(?:[/?#\s]|$))[^\s'\"]*@")
"""If a port follows the colon, the colon belongs to the host."""
_PARAMETER = re.compile(
    r"([?&][\w.-]*(?:token|secret|passw(?:or)?d|pwd|credential|signature|sig|api[_-]?key|access[_-]?key)[\w.-]*=)[^&\s#'\"]+",
    re.IGNORECASE,
)


def redact(address: str) -> str:
    """Return a URL, or a text with URLs in it, without user names, passwords and tokens.

    A password may contain an unescaped @ or slash, although a URL should not.
    """
    address = _PASSWORD_WITH_SLASH.sub("://***@", _USER.sub("://***@", address))
    return _PARAMETER.sub(r"\1***", address)
