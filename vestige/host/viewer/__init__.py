"""The viewer: a process that shows the guest's screen, and says what is typed. docs/display.md."""
