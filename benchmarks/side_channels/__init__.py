"""What a server says beside its tokens: in their text, in their times, in their order."""
