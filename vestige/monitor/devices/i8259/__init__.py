"""The PC's interrupt controllers: Intel's 8259A twice, with the PIIX3's trigger registers."""
