"""What the guest finds at its first instruction: memory, tables, CPU, loaded kernel.

Pure functions over plain data. Nothing here knows KVM or the monitor.
"""
