"""Controllers that are handed to the monitor by VFIO."""
