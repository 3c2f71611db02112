"""Schedulers, one file each: the class, and its params.yaml entry as `ENTRY`, through which it is discovered."""

from bss.balance.schedulers.base import Entry, Order, Scheduler
from bss.balance.schedulers.heuristic import Heuristic
from bss.balance.schedulers.learned import Learned
from bss.balance.schedulers.uniform import Uniform

__all__ = ["Entry", "Heuristic", "Learned", "Order", "Scheduler", "Uniform"]
