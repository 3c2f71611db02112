"""Balance-aware sequence sampling for multi-modal learning (Guan et al., IJCAI 2025)."""

__version__ = "0.1.0"
