"""Device models: pure state machines that know no VM, bus or transport (docs/monitor.md)."""
