"""The server's side of the Remote Framebuffer Protocol, RFC 6143: what VNC viewers speak."""
