"""Anthropic's Messages API: requests in its form become chats, and answers take its form."""
