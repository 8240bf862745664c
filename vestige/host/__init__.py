"""What runs outside the guest: KVM, memory, the run loop, doorbells, the ring, the terminal."""
