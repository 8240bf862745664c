"""The two processes of a run: the caller's, which has all that the user named, and the machine's.

The machine's process is a fork, one for each start of the guest. It has both VMs, the rings and the
threads that enter them, and nothing else once the guest runs: see vestige.host.jail. Messages go
between the two; link.py has them.
"""
