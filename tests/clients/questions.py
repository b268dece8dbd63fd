"""What the clients ask `guide`, and what it can be relied on to answer."""

LIST = "How do I list my models?"
LIST_ANSWER = "oprel list"

WEATHER = "What is the weather in Oslo?"
WEATHER_RESULT = '{"temperature": 17}'
WEATHER_ANSWER = "17"
TOOL = "get_weather"
TOOL_DESCRIPTION = "Get the weather of a city"
TOOL_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ARGUMENTS = {"city": "Oslo"}

SCHEMA = {
    "type": "object",
    "properties": {"command": {"type": "string", "maxLength": 20}},
    "required": ["command"],
    "additionalProperties": False,
}
