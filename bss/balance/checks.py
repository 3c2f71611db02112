"""Range checks with a uniform message."""


def require(holds: bool, name: str, found: object, right: str) -> None:
    """Raise ``ValueError("`name` must be <right>, but got: <found>")`` unless `holds`."""
    if not holds:
        raise ValueError(f"`{name}` must be {right}, but got: {found!r}")
