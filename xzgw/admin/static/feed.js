// What happens, as the gateway tells it: one stream that is resumed whenever it breaks.

import { ApiError } from "./api.js";
import { Signal } from "./signal.js";
import { Blocks } from "./sse.js";

const MOST = 1000; // events that are remembered
const SILENCE = 45000; // ms without even a heartbeat, after which the stream counts as dead
const FIRST_PAUSE = 1000; // ms
const LONGEST_PAUSE = 30000;
const FROM_THE_START = "-"; // no id of the gateway's: it answers with all that it remembers

export class Feed {
  /** Oldest first. `gap` stands where some may be missing. */
  events = [];
  /** `connecting`, `live` or `lost`. */
  state = "connecting";
  /** Told of each event that happens now, with it. */
  happened = new Signal();
  /** Told when everything missed is here: only from now on does `happened` tell all. */
  caughtUp = new Signal();
  /** Told whenever `events` or `state` is another. */
  changed = new Signal();

  #api;
  #lastId = FROM_THE_START;
  #current = false; // whether what was missed is through
  #over = new AbortController();

  constructor(api) {
    this.#api = api;
  }

  start() {
    this.#run();
  }

  stop() {
    this.#over.abort();
  }

  async #run() {
    let pause = FIRST_PAUSE;
    while (!this.#over.signal.aborted) {
      let wait = 0;
      try {
        await this.#read();
        pause = FIRST_PAUSE;
      } catch (error) {
        if (error instanceof ApiError && error.retryAfter) wait = error.retryAfter * 1000;
      }
      if (this.#over.signal.aborted) return;
      if (this.#current) pause = FIRST_PAUSE;
      this.#enter("lost");
      await this.#sleep(wait || pause * (0.75 + Math.random() / 2));
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }

  /** Read until the stream ends or is silent for too long. */
  async #read() {
    this.#current = false;
    const silent = new AbortController();
    const signal = AbortSignal.any([this.#over.signal, silent.signal]);
    const giveUp = () => silent.abort();
    let timer = setTimeout(giveUp, SILENCE);
    try {
      const answer = await this.#api.stream("v1/events", { "Last-Event-ID": this.#lastId }, signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const blocks = new Blocks();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(giveUp, SILENCE);
        blocks.feed(value).forEach((block) => this.#take(block));
      }
    } finally {
      clearTimeout(timer);
      silent.abort();
    }
  }

  #take(block) {
    if (block.id !== null) this.#lastId = block.id;
    if (block.data !== null) this.#add(JSON.parse(block.data));
    else if (!this.#current) {
      this.#current = true;
      this.#enter("live");
      this.caughtUp.tell();
    }
  }

  #add(event) {
    if (event.kind === "gap" && this.events.length === 0) return; // nothing was seen before it
    this.events.push(event);
    if (this.events.length > MOST) this.events.shift();
    if (this.#current) this.happened.tell(event);
    this.changed.tell();
  }

  #enter(state) {
    this.state = state;
    this.changed.tell();
  }

  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#over.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), {
        once: true,
      });
    });
  }
}
