"""More questions for tools_data.py's tools, for training only: grids, and what people say besides.

The examination asks with tools_data.py's own held-out questions; what equals one of those is left out here.
"""

from words import grid

_OF_X = "the {noun} of {x}|{x}'s {noun}|the {noun} for {x}|the {noun} of the {kind} {x}|the {kind} {x}'s {noun}"
GET = (
    *grid("|Please|Now|Just|OK,|Then", "get|find|fetch|show|give|tell|bring|send", "me|us", _OF_X, ".|"),
    *grid(
        "|Please|Now|Just|OK,|Then",
        "look up|check|get|find|fetch|read|return|retrieve|query|load|search|report|print|"
        "look for|display|determine|obtain|see",
        _OF_X,
        ".|for me.|",
    ),
    *grid(
        "Can you|Could you|Would you|Will you|Can someone|I want you to|I need you to|"
        "I'd like you to|You must|Be so kind and|Go and|Would you please|Could you please|Let us",
        "look up|check|get|find|tell me|show me|give me|read|fetch|query|retrieve|see",
        _OF_X,
        "?|for me?|.",
    ),
    *grid(
        "What is|What's|whats|What was|what will be|Which is|So what is|and what is|Hey, what is|"
        "Do you know|I wonder what is|How is",
        "the {noun} of {x}|{x}'s {noun}|the {noun} for {x}|the {noun} of the {kind} {x}|"
        "the {noun} of this {kind}: {x}|the {noun} of the {kind} called {x}|"
        "the {kind} {x}'s {noun}",
        "?|",
    ),
    *grid(
        "I need|I want|I want to know|I would like|I'd like to have|I am looking for|I search|"
        "I have to know|we need|I must have|give|show|I ask for|I am interested in|tell me about|"
        "I would like to see",
        _OF_X,
        ".|, please.",
    ),
    *grid(
        "|and|now|OK,|just|only|next,|please,",
        "{noun} of {x}|{x}'s {noun}|the {noun} for {x}|{noun} for {x}|{noun} of the {kind} {x}|"
        "{x}: {noun}|{noun}: {x}|the {kind} {x}'s {noun}|{kind} {x}, {noun}|{x} {noun}",
        "|?|.|please|, please|now",
    ),
    *grid(
        "What|Which", "{noun}", "has|does the {kind} {x} have|is given for|belongs to|goes with|is that of", "{x}", "?"
    ),
    *grid(
        "Is there|Do you have|Do we have|Have you got|Does it say",
        "a {noun}|the {noun}|some {noun}|any {noun}",
        "of {x}|for {x}|of the {kind} {x}|for the {kind} {x}",
        "?|",
    ),
    *grid(
        "{kind} {x}:|{x}:|For {x},|For the {kind} {x},|About {x}:|Take {x}.|Here is a {kind}, {x}.",
        "what is the {noun}?|the {noun}?|the {noun} please|tell me the {noun}|"
        "give me the {noun}.|what {noun}?|I need the {noun}.|look up the {noun}.",
    ),
    *grid(
        "I have|There is|I see|I know",
        "a {kind}|the {kind}|a {kind} called|a {kind} named",
        "{x}.",
        "What is the {noun}?|What is its {noun}?|Tell me its {noun}.|Look up its {noun}.",
    ),
)

_X = "{x}|the {kind} {x}|my {kind} {x}|this {kind}: {x}|our {kind} {x}|the {kind} called {x}"
DO = (
    *grid(
        "|Please|Now|Just|Quick,|OK,|Then|Next,|Kindly|hey,",
        "{verb}",
        _X,
        "|.|now.|for me|please|, please.|again|at once|today|, will you?|!",
    ),
    *grid(
        "Can|Could|Would|Will",
        "you|you please|someone|somebody|anyone|we|one of you",
        "{verb}",
        _X,
        "?|now?|for me?|today?|for us?",
    ),
    *grid(
        "I want you to|I want to|I need you to|I need to|I'd like to|I'd like you to|"
        "I ask you to|I have to|I must|I wish to|I tell you to|You have to|You must|You should|"
        "You can|We should|We must|We have to|Let's|Let us|Go and|Do|Do me a favour and|"
        "Make sure to|Be so kind and|Be nice and|Time to|It is time to|My wish is to|Help me|"
        "Help me to|Remember to|Try to|Have someone|Let someone",
        "{verb}",
        _X,
        "|.|now.|for me.|, please.",
    ),
    *grid(
        "{x}:|The {kind} {x}:|For {x}:|Regarding {x}:|It is about {x}:",
        "{verb} it|please {verb} it|{verb}|{verb} it now|{verb} this {kind}|can you {verb} it?|"
        "I want you to {verb} it.",
    ),
)
COUNT = (
    *grid(
        "|Please|Now|Just|OK,|Then",
        "{verb}",
        "{n} {x}|{n} of {x}|{x} {n} times|{x} with {n}|{x} at {n}|{x} by {n}|{x} for {n}|"
        "{x} using {n}|{x} up to {n}|{n} times {x}|{x}, {n} times|the {kind} {x} with {n}|"
        "the {kind} {x} at {n}|the {kind} {x} for {n}|my {kind} {x} by {n}|{x} to {n}|{x}: {n}|"
        "{n} x {x}",
        "|.|please|now",
    ),
    *grid(
        "Can you|Could you|Would you|Will you|I want you to|I want to|I need you to|I need to|"
        "I would like to|I'd like you to|You should|You must|Let us|Go and|Do|Be so kind and",
        "{verb}",
        "{n} {x}|{n} of {x}|{x} {n} times|{x} with {n}|{x} at {n}|{x} by {n}|{x} for {n}|"
        "{x} using {n}|the {kind} {x} with {n}|the {kind} {x} at {n}|{x} up to {n}|{x} to {n}",
        "?|.|for me.|please",
    ),
)

_ASK = "|Please|Can you|Could you|Would you|I want you to|I need you to|Now|Just|Will you|I'd like you to|Go and"
FAMILIES: dict[str, tuple[str, ...]] = {
    "get_weather": (
        *grid(
            "What is|How is|what's|How will be|How was",
            "the weather|the weather like|the forecast|the sky|the temperature",
            "in {city}|at {city}|over in {city}|for {city}",
            "|now|today|tomorrow|this week",
            "?",
        ),
        *grid(
            "Is it|Will it be|Is it very|Is it still",
            "warm|cold|raining|sunny|hot|windy|snowing|cloudy|wet|dry|stormy|nice outside",
            "in {city}|over in {city}",
            "|now|today|tomorrow",
            "?",
        ),
        *grid(
            "Do I need|Should I take|Shall I bring",
            "an umbrella|a coat|a jacket|sunglasses|boots",
            "in {city}|for {city}",
            "|today|tomorrow",
            "?",
        ),
        *grid(
            _ASK,
            "check|get|show me|tell me|look up|give me|find|read",
            "the weather|the current weather|today's weather|the forecast",
            "in {city}|for {city}|of {city}",
            "|.|?",
        ),
        *grid(
            "weather|{city} weather|current weather|forecast|today's weather|the weather",
            "in {city}|for {city}|{city}",
            "|?|please|now",
        ),
        *grid(
            "I am going|I fly|I travel|We drive",
            "to {city}.",
            "What is the weather there?|How is the weather?|Is it raining there?|Is it warm there?",
        ),
    ),
    "add": (
        *grid(
            "|Please|Can you|Could you|Would you|I want you to|Now",
            "add|sum|sum up|total|add up",
            "{a} and {b}|{a} to {b}|{a} with {b}|{a} plus {b}|{a}, {b}|the numbers {a} and {b}|{a} + {b}",
            "|.|?",
        ),
        *grid(
            "What is|What's|How much is|Calculate|Compute|Tell me|What do I get from|What gives|"
            "what makes|Work out|So what is",
            "{a} plus {b}|{a} and {b}|{a} + {b}|the sum of {a} and {b}|the total of {a} and {b}|"
            "{a} added to {b}|{a} with {b} added",
            "|?|.",
        ),
        *grid(
            "{a} plus {b}|{a} + {b}|the sum of {a} and {b}|{a} and {b} together|sum of {a} and {b}|"
            "{a}+{b}|I have {a} and get {b} more",
            "|?|=|please|is?|makes?|equals?|equals what?",
        ),
    ),
    "multiply": (
        *grid(
            "|Please|Can you|Could you|Would you|I want you to|Now",
            "multiply",
            "{a} and {b}|{a} by {b}|{a} with {b}|the numbers {a} and {b}|{a} times {b}|{a}, {b}",
            "|.|?|for me",
        ),
        *grid(
            "What is|What's|How much is|Calculate|Compute|Tell me|What do I get from|Work out|So what is|How many are",
            "{a} times {b}|{a} * {b}|the product of {a} and {b}|{a} multiplied by {b}|{a} x {b}|"
            "{a} multiplied with {b}",
            "|?|.",
        ),
        *grid(
            "{a} times {b}|{a} * {b}|the product of {a} and {b}|{a} multiplied by {b}|"
            "product of {a} and {b}|{a}*{b}|{a} x {b}",
            "|?|=|please|is?|makes?|equals?|equals what?",
        ),
    ),
    "subtract": (
        *grid(
            "|Please|Can you|Could you|Would you|I want you to|Now",
            "subtract|take|deduct|remove|take away",
            "{b} from {a}|the number {b} from {a}",
            "|.|?|for me",
        ),
        *grid(
            "What is|What's|How much is|Calculate|Compute|Tell me|Work out|So what is|What remains of",
            "{a} minus {b}|{a} - {b}|{a} less {b}|{a} without {b}|{a} take away {b}|"
            "{a} reduced by {b}|the difference of {a} and {b}",
            "|?|.",
        ),
        *grid(
            "{a} minus {b}|{a} - {b}|{a} less {b}|{a} take away {b}|{a} without {b}|{a}-{b}|"
            "the difference of {a} and {b}|I have {a} and lose {b}",
            "|?|=|please|is?|makes?|equals?|equals what?",
        ),
    ),
    "set_timer": (
        *grid(
            _ASK,
            "set|start|make|run|give me|begin",
            "a timer for {minutes} minutes|a {minutes} minute timer|a timer of {minutes} minutes|"
            "the timer to {minutes} minutes|a timer: {minutes} minutes",
            "|.|?",
        ),
        *grid(
            "timer|timer for|a timer of|countdown of|wait|count down|time|tell me after|wake me in|"
            "call me in|ring in|I need|I have",
            "{minutes} minutes",
            "|.|please|from now|from now on",
        ),
        *grid(
            "The tea|The cake|Dinner|The egg",
            "takes|needs|is ready in",
            "{minutes} minutes",
            ", set a timer.|, start a timer please.|. Set a timer.",
        ),
    ),
    "set_alarm": (
        *grid(
            _ASK,
            "set|make|give me|put",
            "an alarm for {hour}|an alarm at {hour}|the alarm to {hour}|an alarm for {hour} o'clock|"
            "my alarm at {hour} o'clock|the alarm for {hour}",
            "|.|?",
        ),
        *grid(
            "Wake me|Wake me up|Ring|alarm|an alarm|I get up|I want to be woken|call me|"
            "I need to wake up|I must rise|alarm set",
            "at {hour}|at {hour} o'clock|for {hour}|for {hour} o'clock",
            "|.|please|tomorrow",
        ),
    ),
    "convert": (
        *grid(
            _ASK,
            "convert|change|turn|express|calculate|give me|write",
            "{amount} {source} to {target}|{amount} {source} into {target}|"
            "{amount} {source} in {target}|{amount} {source} as {target}",
            "|.|?",
        ),
        *grid(
            "How many|How much|what number of|So how many|tell me how many|I wonder how many",
            "{target}",
            "are {amount} {source}|is {amount} {source}|do {amount} {source} make|"
            "make {amount} {source}|are in {amount} {source}|equal {amount} {source}|"
            "would {amount} {source} be",
            "|?",
        ),
        *grid(
            "What is|what's|What are|How much is|Tell me",
            "{amount} {source}",
            "in {target}|as {target}|in terms of {target}|expressed in {target}|if I want {target}",
            "|?",
        ),
        *grid(
            "{amount} {source}",
            "in {target}|to {target}|into {target}|as {target}|are how many {target}|is how much {target}|= ? {target}",
            "|?|please|now",
        ),
        *grid(
            "I have|There are|I need|It is",
            "{amount} {source}.",
            "How many {target} is that?|What is that in {target}?|Convert it to {target}.|Give me {target}.",
        ),
    ),
    "search": (
        *grid(
            _ASK,
            "search|search for|look up|google|look for|find|do a search for|search the web for|"
            "look on the web for|search the internet for|find pages about",
            "{query}",
            "|.|?|for me|on the web|online|on the internet|in the web",
        ),
        *grid("web|internet|google|online", "search|lookup", "for {query}|: {query}|{query}|about {query}", "|please"),
        *grid(
            "What does the web say about|What can you find about|Is there anything on the web about|"
            "What is on the internet about|I need a web search for|Find something about|"
            "I want to search for|I want to google|I am searching for|search:|google:|Search:",
            "{query}",
            "|?|please",
        ),
    ),
    "send_message": (
        *grid(
            _ASK,
            "send|write|give",
            "{to} the message|{to} this message|a message to {to}|a text to {to}|{to} a message|"
            "{to} a note|a note to {to}|{to} a text|{to}",
            ": {text}|that says: {text}",
        ),
        *grid(
            _ASK, "tell|text|message|inform|write to|write|let", "{to}", ": {text}|this: {text}|the following: {text}"
        ),
        *grid(_ASK, "tell|text|message|inform|write to|notify", "{to}", "that {text}|saying {text}|: {text}"),
        *grid("Message for {to}|To {to}|Text for {to}|Note to {to}|Message to {to}|For {to}", ": {text}"),
        *grid(
            "Let {to} know|{to} should know|{to} must hear|Say to {to}|I want {to} to know",
            ": {text}|that {text}|this: {text}",
        ),
    ),
    "translate": (
        *grid(
            _ASK,
            "translate|put|render|turn|bring|convert|write|say|express",
            '"{text}"',
            "into {language}|to {language}|in {language}",
            "|.|?|for me",
        ),
        *grid(
            "How do you say|How do I say|What is|What's|What means|How would one say|"
            "How does one write|How is|Say|Tell me",
            '"{text}"',
            "in {language}|in the {language} language|called in {language}|when said in {language}",
            "|?",
        ),
        *grid(
            '"{text}"|the text "{text}"|this: "{text}"',
            "in {language}|into {language}|to {language}",
            "|?|please|, translate it",
        ),
        *grid(
            "In {language}|Into {language}|To {language}|{language} for|{language}|{language} translation",
            'please: "{text}"|: "{text}"|, "{text}"|what is "{text}"?',
        ),
    ),
    "play_music": (
        *grid(
            _ASK,
            "play|start|put on|turn on|stream|begin",
            "{genre}|some {genre}|{genre} music|some {genre} music|a bit of {genre}|a {genre} song|"
            "{genre} songs|a little {genre}",
            "|.|?|for me|now",
        ),
        *grid(
            "I want to hear|I'd like to hear|I would like|I want|Let me hear|Let's hear|I like|"
            "I feel like|I am in the mood for|Let us listen to|I wish to hear|Give me|Time for|"
            "How about|I need|music:",
            "{genre}|some {genre}|{genre} music|a {genre} song",
            "|.|now|please",
        ),
    ),
    "light_on": (
        *grid(
            _ASK,
            "turn on|switch on|put on|light up",
            "the light in the {room}|the {room} light|the lights in the {room}|"
            "the lamp in the {room}|the {room} lights|the lamp of the {room}",
            "|.|?|for me",
        ),
        *grid(
            _ASK,
            "turn|switch|put",
            "the light in the {room} on|the {room} light on|the lights of the {room} on|the {room} lamp on",
            "|.|?",
        ),
        *grid(
            "It is dark|It's too dark|I can see nothing|I need light|Light|Lights on|Make light|"
            "More light|Let there be light|light on|lamp on|I want light|No light",
            "in the {room}",
            "|.|please|!|now",
        ),
        *grid(
            "{room} light|{room} lights|{room} lamp|light in the {room}|light for the {room}",
            "on|on please|, please|on now|on!",
        ),
    ),
    "set_reminder": (
        *grid(
            _ASK,
            "set|add|make|create|write|save|note",
            "a reminder|me a reminder|the reminder|a new reminder|one reminder",
            ": {text}|that says {text}|with the text: {text}",
        ),
        *grid(
            "Remind me|Please remind me|Can you remind me|Could you remind me|Will you remind me|"
            "Would you remind me|I want you to remind me|reminder|reminder for me|new reminder|"
            "Do not let me forget|I must not forget|I should remember|Note for later|"
            "You must remind me|Later remind me",
            ": {text}|of this: {text}|, {text}",
        ),
    ),
    "add_to_list": (
        *grid(
            _ASK,
            "add|put|write|note|place|set|enter",
            "{count} {item}",
            "on my shopping list|to my shopping list|on the shopping list|to the shopping list|"
            "onto the list|to my list|on the list",
            "|.|?",
        ),
        *grid(
            "I need|I need to buy|I want to buy|I must buy|We need|We have to buy|Buy|Please buy|"
            "shopping list:|My shopping list needs|Shopping:|Add to my list:|to buy:|"
            "I am out of things, get|For shopping:|Next time buy",
            "{count} {item}",
            "|.|, add it to the list|please",
        ),
    ),
    "book_table": (
        *grid(
            _ASK,
            "book|reserve|get|order|find",
            "a table for {people} in {city}|a table in {city} for {people}|"
            "a table for {people} people in {city}|a table in {city} for {people} people|"
            "a table for {people} guests in {city}|us a table for {people} in {city}",
            "|.|?|tonight",
        ),
        *grid(
            "I want|I need|We need|We want|I would like|We would like|Give us|Is there|Do they have|I'd like",
            "a table for {people} in {city}|a table in {city} for {people} people|"
            "a table for {people} people in {city}|a table in {city} for {people}",
            "|.|please|tonight|?",
        ),
        *grid(
            "We are {people}|We are {people} people|There are {people} of us|"
            "{people} guests are coming|{people} people",
            ", book a table in {city}|and want to eat in {city}|and need a table in {city}|. Reserve a table in {city}",
            "|.",
        ),
        *grid(
            "table|a table|dinner|lunch|reservation",
            "for {people} in {city}|in {city} for {people}|in {city}, {people} people|for {people} people in {city}",
            "|please|tonight",
        ),
    ),
    "find_route": (
        *grid(
            "How do I|How can I|How do we|How does one|How would I|How should I",
            "get|go|drive|travel|come|walk|ride",
            "from {start} to {end}|to {end} from {start}",
            "|?",
        ),
        *grid(
            _ASK,
            "find|show me|give me|get|look up|plan|tell me|calculate",
            "a route|the route|the way|directions|a way|the road|the path",
            "from {start} to {end}|to {end} from {start}",
            "|.|?",
        ),
        *grid(
            "What is|Which is|What's|I need|I want|I look for|I wonder about",
            "the way|the route|the best way|the road|the shortest way|the fastest route",
            "from {start} to {end}|to {end} from {start}",
            "|?",
        ),
        *grid(
            "I want to drive|I want to go|I have to get|We travel|I travel|I drive|route|directions|"
            "way|I am going|the way|We want to go|I need to go",
            "from {start} to {end}|to {end} from {start}",
            "|.|please",
        ),
    ),
    "roll_dice": (
        *grid(
            _ASK,
            "roll|throw|cast|toss|use",
            "a dice with {sides} sides|a {sides} sided dice|a dice of {sides} sides|"
            "the dice with {sides} sides|one dice with {sides} faces|a die with {sides} sides|"
            "a {sides} sided die",
            "|.|?|for me",
        ),
        *grid(
            "dice|die|roll|a dice|throw|I roll|I throw a dice",
            "with {sides} sides|of {sides} sides|with {sides} faces|with {sides} sides please|: {sides} sides",
        ),
    ),
    "get_time": (
        *grid(
            "What time|Which time|What hour",
            "is it|is it now|do they have|do we have|will it be",
            "in {city}|over in {city}|at {city}",
            "|?|now?|right now?",
        ),
        *grid(
            _ASK,
            "tell me|get|show me|give me|check|look up|find|say",
            "the time|the current time|the local time|what time it is|the hour",
            "in {city}|of {city}|for {city}",
            "|.|?",
        ),
        *grid(
            "What is|What's|whats|How late is",
            "the time|the local time|the current time|the clock",
            "in {city}|over in {city}|for {city}",
            "|?|now?",
        ),
        *grid(
            "time|current time|local time|the time|clock|{city} time|the hour",
            "in {city}|for {city}|{city}|over in {city}",
            "|?|please|now",
        ),
    ),
}

TEXTS = (
    *grid(
        "buy|bring|clean|wash|paint|feed|find|sell|take|fix|order|fetch|hide|see|check|look for|"
        "pack|pay for|move|water|lock|cook",
        "the {t}|a {t}|{t}|some {t}|my {t}|your {t}|two {t}",
    ),
    *grid(
        "the {t}|my {t}|our {t}|a {t}|{n}|the {t} from {p}",
        "is broken|is ready|is here|has arrived|is lost|is late|is ill|is in {p}|is on the way|"
        "is at home|must go|is waiting|was sold|looks good|comes tomorrow",
    ),
    *grid(
        "I|we|they|you",
        "need the {t}|lost the {t}|are in {p}|saw {n}|bought a {t}|like the {t}|have a {t}|"
        "come to {p}|go to {p}|know {n}|miss you|will be late|cannot come|want {t}",
    ),
    *grid(
        "call|ask|meet|visit|thank|write to|pick up|invite|help|pay",
        "{n}|{n} tomorrow|{n} about the {t}|{n} in {p}|{n} at noon|{n} today|my friend {n}",
    ),
    *grid(
        "where is|when comes|do you have|thanks for|do not forget|sorry about|good news about|who took|please bring",
        "the {t}|{n}|my {t}|the {t} for {n}|your {t}|the {t} in {p}",
    ),
    *grid(
        "hello|good night|good luck|well done|see you|come home|on time|wait for me|stay there|hurry up",
        "|{n}|in {p}|tomorrow|soon|at noon",
    ),
)
