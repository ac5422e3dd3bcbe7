// Something that others want to hear of.

export class Signal {
  #listeners = new Set();

  /** Call `listener` each time; returns what ends that. */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(value) {
    for (const listener of [...this.#listeners]) listener(value);
  }
}

/** Call `act` now and then every `ms`, each time after the last has ended; not while hidden.
 * Returns what ends it. */
export function every(ms, act) {
  let timer = null;
  let over = false;
  const run = async () => {
    if (!document.hidden) await act();
    if (!over) timer = setTimeout(run, ms);
  };
  run();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
