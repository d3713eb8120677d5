"""Reading of answers: public fixtures of tool calls and reasoning, and random inputs."""
