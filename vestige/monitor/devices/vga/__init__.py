"""The standard VGA of QEMU and Bochs: IBM's VGA with the VBE DISPI ports, 1234:1111."""
