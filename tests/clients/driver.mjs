// Makes one call of the official `ollama` package and prints what came of it.
//
// stdin:  {"host": "http://…", "method": "chat", "request": {…}, "abort_after": 3}
// stdout: {"reply": …}, the pieces of a stream as a list; or {"error": {"name", "message", "status_code"}}
//
// `abort_after`, optional: abort the client once that many pieces of a stream have come; "reply" are those pieces.

import { Ollama } from "ollama";

console.log = console.error; // the package logs there

const text = await new Response(process.stdin).text();
const { host, method, request, abort_after: abortAfter } = JSON.parse(text);
const client = new Ollama({ host });

async function pieces(stream) {
  const found = [];
  try {
    for await (const piece of stream) {
      found.push(piece);
      if (found.length === abortAfter) client.abort();
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
  return found;
}

async function outcome() {
  try {
    const reply = await client[method](...(request === undefined ? [] : [request]));
    return { reply: reply?.[Symbol.asyncIterator] ? await pieces(reply) : reply };
  } catch (error) {
    return { error: { name: error.name, message: error.message, status_code: error.status_code } };
  }
}

process.stdout.write(JSON.stringify(await outcome()));
