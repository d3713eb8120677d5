"""The reduction of whole rows to candidates on the device that holds them; imports torch, and Triton where it is."""
