"""The `vestige` command: one file a subcommand, imported only when it is asked for."""

import gc

# Hardly anything made on the way to a guest is garbage, and looking for it is a tenth of that way.
gc.set_threshold(200_000)
