"""The monitor's core: from a trap to a model and on to interrupts, requests and time."""
