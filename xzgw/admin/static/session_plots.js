// Packets, loss and jitter of one device's session, from looks at it once a second.

import { h } from "./dom.js";
import { milliseconds, NOTHING, number, percent } from "./format.js";
import { t } from "./i18n.js";
import { Plot } from "./plots.js";
import { rate, share } from "./stats.js";

const KEPT = 180; // samples: three minutes

export class SessionPlots {
  #times = [];
  #lines = { packets: [[], []], loss: [[], []], jitter: [[], []] }; // up, down
  #before = null;
  #plots;

  constructor() {
    const perSecond = (value) => (value == null ? NOTHING : number(value, 1));
    this.#plots = {
      packets: new Plot("packets", t("packets_per_second"), perSecond),
      loss: new Plot("loss", t("loss"), percent),
      jitter: new Plot("jitter", t("jitter"), milliseconds),
    };
    this.element = h("div", { class: "plots" },
      ...Object.values(this.#plots).map((plot) => plot.element));
  }

  /** Take what is known of the device now; null if it is not connected. */
  add(device) {
    const now = device?.udp && device.session ? { at: Date.now() / 1000, ...device } : null;
    const before = this.#before?.session.id === now?.session.id ? this.#before : null;
    this.#before = now;
    const { packets, loss, jitter } = now && before ? figures(before, now) : NONE;
    this.#append(packets, loss, jitter);
    for (const [name, plot] of Object.entries(this.#plots)) {
      plot.draw(this.#times, ...this.#lines[name]);
    }
  }

  close() {
    Object.values(this.#plots).forEach((plot) => plot.close());
  }

  #append(packets, loss, jitter) {
    const samples = { packets, loss, jitter };
    this.#times = [...this.#times, Date.now() / 1000].slice(-KEPT);
    for (const [name, lines] of Object.entries(this.#lines)) {
      this.#lines[name] = lines.map((line, i) => [...line, samples[name][i]].slice(-KEPT));
    }
  }
}

const NONE = { packets: [null, null], loss: [null, null], jitter: [null, null] };

function figures(before, now) {
  const seconds = now.at - before.at;
  const grown = (way, name) => now.udp[way][name] - before.udp[way][name];
  const [up, down] = [grown("up", "packets"), grown("down", "packets")];
  return {
    packets: [rate(up, seconds), rate(down, seconds)],
    loss: [share(grown("up", "lost"), up), share(grown("down", "dropped"), down)],
    jitter: [now.udp.up.jitter_ms, now.udp.down.jitter_ms],
  };
}
