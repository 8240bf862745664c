"""An interval timer of no datasheet: the device by which `tests/visitor` tries a new device."""
