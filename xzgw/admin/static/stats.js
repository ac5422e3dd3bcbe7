// The gateway as a whole, looked at every two seconds, and how that went on.

import { every, Signal } from "./signal.js";

const EVERY = 2000; // ms
const KEPT = 150; // samples: five minutes

export class Stats {
  /** The latest answer to /v1/status; null before the first. */
  status = null;
  /** Why the latest look failed; null if it did not. */
  trouble = null;
  /** Samples: `at` (ms), devices, sessions, frames (per s) and loss (%), null where unknown. */
  history = [];
  changed = new Signal();

  #api;
  #stop = () => {};
  #before = null; // sums at the latest sample

  constructor(api) {
    this.#api = api;
  }

  start() {
    this.#stop = every(EVERY, () => this.#look());
  }

  stop() {
    this.#stop();
  }

  async #look() {
    try {
      this.status = await this.#api.get("v1/status");
      this.trouble = null;
      this.history.push(this.#sample(this.status));
      if (this.history.length > KEPT) this.history.shift();
    } catch (error) {
      this.trouble = error.message;
    }
    this.changed.tell();
  }

  #sample(status) {
    const { devices, sessions, audio } = status;
    const sample = { at: performance.now(), devices, sessions, frames: null, loss: null };
    if (!audio) return sample;
    const now = {
      at: status.uptime_seconds,
      up: audio.up.packets,
      down: audio.down.packets,
      lost: audio.up.lost,
    };
    const before = this.#before;
    this.#before = now;
    if (before && now.at > before.at) {
      sample.frames = rate(now.up + now.down - before.up - before.down, now.at - before.at);
      sample.loss = share(now.lost - before.lost, now.up - before.up);
    }
    return sample;
  }
}

/** How many per second; sums that have become smaller were begun anew. */
export function rate(count, seconds) {
  return count < 0 || seconds <= 0 ? null : count / seconds;
}

/** What part was lost, in percent, of all that were lost and those that came. */
export function share(lost, came) {
  if (came < 0) return null;
  const missing = Math.max(lost, 0);
  return missing + came === 0 ? 0 : (100 * missing) / (missing + came);
}
