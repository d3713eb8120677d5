"""Grammars of each kind, with answers that they allow."""

PERSON = (
    '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},'
    ' "required": ["name", "age"], "additionalProperties": false}'
)
CALL = f'start: "<tool_call>\\n" call "\\n</tool_call>"\ncall: %json {PERSON}'
EXAMPLES = [
    ("json", PERSON, '{"name": "Alice \\"A\\" B", "age": 42}'),
    ("json", PERSON, '{\n  "name" : "é",\n  "age": -1\n}'),
    ("json", '{"type": "object"}', '{"a": [1, 2.5e3, {"b": null}], "c": "x"}'),
    ("json", '{"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 2}', '["red","green"]'),
    ("json", '{"anyOf": [{"type": "integer"}, {"type": "boolean"}]}', "true"),
    ("regex", r"[0-9]{3}-[0-9]{4}", "555-1234"),
    ("regex", r"(yes|no)( please)?", "no please"),
    ("regex", r"[a-z]+@[a-z]+\.(com|org)", "someone@example.org"),
    ("choice", '["positive", "negative", "neu\\"tral"]', 'neu"tral'),
    ("grammar", CALL, '<tool_call>\n{"name": "Bob", "age": 7}\n</tool_call>'),
    ("grammar", "start: think ans\nthink[lazy]: /(.|\\n)*<\\/think>/\nans: %json " + PERSON, "Hm.</think>{"),
    ("grammar", 'root ::= "a" | "b" root', "bba"),
]
