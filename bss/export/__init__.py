"""`bss export`: plans, sequences and curated subsets in formats that other trainers read."""
