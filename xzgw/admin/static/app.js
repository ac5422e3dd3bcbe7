// The page: logging in, what surrounds every view, and which view is shown.

import { Api, ApiError } from "./api.js";
import { DeviceView } from "./device_view.js";
import { DevicesView } from "./devices_view.js";
import { badge, field, fill, h, say } from "./dom.js";
import { EventsView } from "./events_view.js";
import { Feed } from "./feed.js";
import { duration } from "./format.js";
import { choose, language, languageChanged, LANGUAGES, t, tell } from "./i18n.js";
import { OverviewView } from "./overview_view.js";
import { Roster } from "./roster.js";
import { Stats } from "./stats.js";

const RECIPE = `printf %s "$(date -u +%F)$MQTT_SIGNATURE_KEY" | sha256sum | cut -d' ' -f1`;
const PAGES = { overview: "#/", devices: "#/devices", events: "#/events" };

const root = document.getElementById("app");

/** All that one log-in needs, from its beginning to its end. */
class Visit {
  constructor(token, paths) {
    this.paths = paths; // that the API has
    this.api = new Api(token, () => logOut("token_expired"));
    this.stats = new Stats(this.api);
    this.feed = new Feed(this.api);
    this.roster = new Roster(this.api);
    this.memory = {}; // what views remember of themselves
    this.feed.happened.on((event) => this.roster.apply(event));
    this.feed.caughtUp.on(() => this.roster.refresh());
  }

  begin() {
    this.stats.start();
    this.feed.start();
  }

  end() {
    this.stats.stop();
    this.feed.stop();
    this.roster.stop();
  }
}

let visit = null; // null while nobody is logged in
let view = null;
let closeFrame = () => {};
let reason = null; // why one has to log in again, a text's key

async function logIn(token) {
  if (!Api.plausible(token)) throw new ApiError(401, t("token_wrong"));
  const trial = new Api(token, () => {});
  await trial.get("v1/status");
  const { paths } = await trial.get("openapi.json");
  visit = new Visit(token, Object.keys(paths));
  reason = null;
  visit.begin();
  draw();
}

function logOut(why = null) {
  if (visit === null) return;
  visit.end();
  visit = null;
  reason = why;
  draw();
}

function draw() {
  tell();
  closeFrame();
  view?.close();
  view = null;
  document.title = t("title");
  if (visit === null) fill(root, loginPage());
  else drawFrame();
}

function loginPage() {
  const input = h("input", {
    id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true,
  });
  const error = h("p", { id: "login-error", class: "error", role: "alert" }, reason && t(reason));
  const button = h("button", { class: "primary" }, t("log_in"));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(error, "");
    try {
      await logIn(input.value.trim());
    } catch (failure) {
      say(error, failure.status === 401 ? t("token_wrong") : failure.message);
    }
    button.disabled = false;
  };
  const form = h("form", { id: "login", class: "panel", onsubmit: submit },
    h("h1", {}, h("img", { src: "dashboard/icon.svg", alt: "", width: 28, height: 28 }), t("title")),
    field(t("token"), input, t("token_kept")), error, button,
    h("p", { class: "hint" }, t("token_hint"), h("code", {}, RECIPE)), languageSwitch());
  requestAnimationFrame(() => input.focus());
  return h("main", { class: "login" }, form);
}

function languageSwitch() {
  const options = Object.entries(LANGUAGES).map(([name, title]) =>
    h("option", { value: name, selected: name === language(), lang: name }, title));
  return h("select", {
    id: "language", "aria-label": t("language"), onchange: (event) => choose(event.target.value),
  }, ...options);
}

function drawFrame() {
  const main = h("main", { id: "main", tabindex: "-1" });
  const links = Object.entries(PAGES).map(([name, hash]) =>
    h("a", { href: hash, "data-page": name }, t(name)));
  const health = h("span", { id: "health" });
  const live = h("span", { id: "feed" });
  const about = h("span", { id: "about", class: "dim" });
  const header = h("header", {},
    h("a", { class: "brand", href: PAGES.overview },
      h("img", { src: "dashboard/icon.svg", alt: "", width: 22, height: 22 }), "xzgw"),
    h("nav", { "aria-label": t("pages") }, ...links),
    h("div", { class: "state" }, about, health, live, languageSwitch(),
      h("button", { id: "logout", type: "button", class: "quiet", onclick: () => logOut() }, t("log_out"))));
  fill(root, header, main);
  const ends = [
    visit.stats.changed.on(() => showHealth(visit.stats, health, about)),
    visit.feed.changed.on(() => showFeed(visit.feed, live)),
  ];
  closeFrame = () => ends.forEach((end) => end());
  showHealth(visit.stats, health, about);
  showFeed(visit.feed, live);
  route();
}

function showHealth({ status, trouble }, health, about) {
  if (trouble !== null) return fill(health, badge(trouble, "bad"));
  if (status === null) return fill(health);
  const time = duration(status.uptime_seconds);
  say(about, t("version_uptime", { version: status.version, time }));
  if (status.draining) return fill(health, badge(t("gateway_draining"), "warn"));
  return fill(health, status.troubles.length ? badge(t("troubled"), "bad") : badge(t("ready"), "ok"));
}

function showFeed({ state }, element) {
  const tones = { live: "ok", connecting: "info", lost: "warn" };
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  fill(element, badge(t(`feed_${state}`), tones[state]));
}

function route() {
  if (visit === null) return;
  view?.close();
  const [, page, rest] = /^#\/([^/]*)(?:\/(.*))?$/.exec(location.hash) ?? [];
  view = rest ? new DeviceView(visit, decoded(rest)) : newView(page);
  const name = page === "devices" || page === "events" ? page : "overview";
  for (const link of root.querySelectorAll("nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(document.getElementById("main"), view.element);
  view.shown?.();
  window.scrollTo(0, 0);
}

function newView(page) {
  if (page === "devices") return new DevicesView(visit);
  if (page === "events") return new EventsView(visit);
  return new OverviewView(visit);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return text;
  }
}

window.addEventListener("hashchange", route);
languageChanged.on(draw);
draw();
