"""The OpenAI API on the wire: requests read strictly, responses, the description. Imports prompts."""
