// Numbers and times for people.

import { language, t } from "./i18n.js";

export const NOTHING = "–";

/** A number with separators; a dash for none. */
export function number(value, digits = 0) {
  if (value == null || !Number.isFinite(value)) return NOTHING;
  return value.toLocaleString(language(), {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** Percent; a digit more where it is little. */
export function percent(value) {
  if (value == null) return NOTHING;
  return `${number(value, value > 0 && value < 10 ? 1 : 0)} %`;
}

/** Bytes in KiB or MiB. */
export function bytes(value) {
  if (value == null) return NOTHING;
  if (value < 1024) return `${value} B`;
  if (value < 1024 * 1024) return `${number(value / 1024, 1)} KiB`;
  return `${number(value / 1024 / 1024, 1)} MiB`;
}

/** Milliseconds; seconds where there are many. */
export function milliseconds(value) {
  if (value == null) return NOTHING;
  return value < 10000 ? `${number(value, value < 10 ? 1 : 0)} ms` : `${number(value / 1000, 1)} s`;
}

/** Seconds as the two largest units: 3 d 4 h, 5 min 6 s. */
export function duration(seconds) {
  if (seconds == null || seconds < 0) return NOTHING;
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / 86400), t("unit_d")],
    [Math.floor(whole / 3600) % 24, t("unit_h")],
    [Math.floor(whole / 60) % 60, t("unit_min")],
    [whole % 60, t("unit_s")],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return `0 ${t("unit_s")}`;
  return parts.slice(first, first + 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

/** How long since an RFC 3339 time. */
export function since(time) {
  return time ? duration(Math.max(0, (Date.now() - Date.parse(time)) / 1000)) : NOTHING;
}

/** The time of day of a Date or RFC 3339 text; with the date if that is not today. */
export function clock(time) {
  const moment = new Date(time);
  const day = moment.toDateString() === new Date().toDateString() ? {} : { month: "2-digit", day: "2-digit" };
  return moment.toLocaleString(language() === "zh" ? "zh-CN" : "en-GB", {
    ...day,
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
}

/** The tone of a device's or a server's state. */
export function tone(state) {
  return { live: "ok", up: "ok", dialing: "info", in_call: "info", failing: "bad", draining: "warn" }[state] ?? "dim";
}
