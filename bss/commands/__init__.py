"""The commands of `bss`, in groups: the options of each, and the function it calls, imported only then."""
