"""Remote storage: object stores, and git repositories with data under DVC."""
