"""Storage elsewhere: object stores, and git repositories whose data DVC tracks."""
