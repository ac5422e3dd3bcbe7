// All devices: read as a whole now and then, and kept up with events in between.

import { Signal } from "./signal.js";

const PAGE = 80; // devices in one answer, which the gateway makes in some ms: audio waits so long
export const MOST = 10000; // devices that are held; of a larger gateway, the first by client id
const EVERY = 10000; // ms between two readings of all, at least
const PER_DEVICE = 10; // ms
const SOON = 1500; // ms

export class Roster {
  /** By client id. */
  devices = new Map();
  /** How many the gateway has that match; more than there are here if it has more than MOST. */
  total = 0;
  changed = new Signal();

  #api;
  #prefix = ""; // of MACs, asked for at the gateway
  #touched = new Set(); // by events while the list was being read
  #timer = null;
  #due = 0;
  #reading = false;
  #again = false; // whether to read once more as soon as this reading is over
  #over = false;

  constructor(api) {
    this.#api = api;
  }

  stop() {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  /** Read all, and again and again from then on. */
  async refresh() {
    if (this.#over) return;
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    this.#again = false;
    this.#touched.clear();
    try {
      if (!document.hidden) this.#take(await this.#read());
    } catch (error) {
      // Told by whoever looks at the whole; the next reading is due all the same.
    }
    this.#reading = false;
    this.#plan(this.#again ? 0 : Math.max(EVERY, PER_DEVICE * this.devices.size));
  }

  /** Of a gateway with more than MOST devices, hold those whose MAC begins so. */
  narrow(prefix) {
    const wanted = this.total > MOST || this.#prefix ? prefix : "";
    if (wanted === this.#prefix) return;
    this.#prefix = wanted;
    this.#plan(0);
  }

  /** Something happened. */
  apply(event) {
    const { kind, client_id: id, time } = event;
    if (kind === "call" || kind === "gap") this.#plan(SOON);
    if (!id || kind === "refused") return;
    this.#touched.add(id);
    const device = this.devices.get(id);
    if (kind === "connect" && !this.#prefix) this.devices.set(id, newcomer(event));
    else if (kind === "disconnect") this.devices.delete(id);
    else if (kind === "session_start" && device) {
      device.state = "live";
      device.session = { id: event.session_id, server: event.server, since: time };
    } else if (kind === "session_end" && device) {
      Object.assign(device, { state: "idle", session: null, udp: null, diagnosis: null });
    } else if (kind === "diagnosis" && device) {
      const { cause, sentence, parts } = event;
      device.diagnosis = { ...device.diagnosis, cause, sentence, parts };
    } else return;
    this.changed.tell();
  }

  async #read() {
    const found = new Map();
    let after = "";
    do {
      const query = new URLSearchParams({ limit: PAGE });
      if (after) query.set("after", after);
      if (this.#prefix) query.set("mac_prefix", this.#prefix);
      const page = await this.#api.get(`v1/devices?${query}`);
      for (const device of page.devices) found.set(device.client_id, device);
      this.total = page.total;
      after = page.next;
    } while (after && found.size < MOST);
    return found;
  }

  #take(found) {
    for (const id of this.#touched) { // events know better than what was read before them
      const device = this.devices.get(id);
      if (device) found.set(id, device);
      else found.delete(id);
    }
    this.devices = found;
    this.changed.tell();
  }

  #plan(ms) {
    const due = performance.now() + ms;
    if (this.#over || (this.#timer !== null && this.#due <= due)) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.refresh();
    }, ms);
  }
}

function newcomer({ client_id: id, address, time }) {
  const [group, mac = ""] = id.split("@@@");
  return {
    client_id: id,
    group,
    mac: mac.replaceAll("_", ":").toLowerCase(),
    state: "idle",
    mqtt: { address, connected_since: time },
    session: null,
    udp: null,
    talk_seconds_today: 0,
  };
}
