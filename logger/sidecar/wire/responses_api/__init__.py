"""OpenAI's Responses API, stateless: requests in its form become chats, and answers take its form."""
