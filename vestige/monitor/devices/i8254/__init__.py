"""The programmable interval timer of a PC, and the port that it shares with the speaker."""
