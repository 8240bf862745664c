"""The two virtual machines over one RAM: KVM's calls, memory, page tables, interrupts."""
