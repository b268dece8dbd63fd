// The AI SDK as its pages show it: `openai('guide')` with a tool, whole and streamed. It refers to earlier items by id.
// Prints {"whole": [steps, text], "streamed": [steps, text]}. URL: the daemon's.

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const request = {
  model: createOpenAI({ baseURL: `${process.env.URL}/v1`, apiKey: "any" })("guide"),
  tools: {
    get_weather: tool({
      description: "Get the weather of a city",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => `sunny in ${city}`,
    }),
  },
  prompt: "What is the weather in Paris?",
  stopWhen: stepCountIs(3),
};
const whole = await generateText(request);
const streamed = streamText({ ...request, onError: ({ error }) => { throw error; } });
let text = "";
for await (const part of streamed.fullStream) {
  if (part.type === "error") throw part.error;
  if (part.type === "text-delta") text += part.text;
}
const steps = (await streamed.steps).length;
process.stdout.write(JSON.stringify({ whole: [whole.steps.length, whole.text], streamed: [steps, text] }));
