// Server-sent events from the pieces of a response's body.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

const LONGEST = 1024 * 1024; // characters of one block

export class Blocks {
  #rest = "";

  /**
   * Take a piece of text; returns the blocks that it completes: `id` (null without one), `event`,
   * and `data`, which is null in a block that is no event.
   */
  feed(text) {
    const blocks = (this.#rest + text).split(/\r?\n\r?\n/);
    this.#rest = blocks.pop();
    if (this.#rest.length > LONGEST) throw new Error("a block of events has no end");
    return blocks.map(parse);
  }
}

function parse(block) {
  const found = { id: null, event: "message", data: null };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (name === "id") found.id = value;
    else if (name === "event") found.event = value;
    else if (name === "data") found.data = found.data === null ? value : `${found.data}\n${value}`;
  }
  return found;
}
