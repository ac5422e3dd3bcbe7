// What is known of a device, as rows of texts. Members that the gateway leaves out are left out.

import { bytes, clock, duration, milliseconds, NOTHING, number, since } from "./format.js";
import { t } from "./i18n.js";
import { said } from "./sayings.js";

/** Rows of term and text. */
export function factRows(id, device) {
  if (device === null) return [[t("client_id"), id]];
  const { mqtt, session, udp, times, tools } = device;
  const ms = (name) => (times?.[name] == null ? null : milliseconds(times[name]));
  return [
    [t("client_id"), id],
    [t("group"), device.group],
    [t("address"), mqtt.address],
    [t("connected_for"), since(mqtt.connected_since)],
    [t("last_seen"), t("ago", { time: since(mqtt.last_seen) })],
    [t("keep_alive"), `${mqtt.keep_alive} ${t("unit_s")}`],
    [t("messages"), t("messages_of", { count: mqtt.messages, refused: mqtt.messages_refused })],
    [t("talk_today"), duration(device.talk_seconds_today)],
    [t("tools_known"), tools.status],
    [t("session_id"), session?.id],
    [t("session_for"), session && `${since(session.since)} (${clock(session.since)})`],
    [t("server"), session?.server],
    [t("udp_address"), udp?.address],
    [t("device_audio"), session && format(session.device_audio)],
    [t("server_audio"), session && format(session.server_audio)],
    [t("hello_to_reply"), ms("hello_to_reply_ms")],
    [t("hello_to_uplink"), ms("hello_to_first_uplink_ms")],
    [t("stop_to_audio"), ms("stop_to_first_audio_ms")],
    [t("turns"), times?.turns == null ? null : String(times.turns)],
  ];
}

/** What is counted in each direction. */
export const COUNTERS = ["packets", "bytes", "lost", "late", "duplicate", "refused", "dropped",
  "jitter", "gaps", "longest_gap"];

/** A row of counters for each direction; none without audio. */
export function counterRows(udp) {
  return udp ? ["up", "down"].map((way) => [t(way), ...counters(udp[way])]) : [];
}

function counters(way) {
  return [
    number(way.packets),
    bytes(way.bytes),
    ...["lost", "late", "duplicate"].map((name) => optional(way[name], number)),
    optional(way.refused, (count) => withReasons(count, way.refused_by)),
    optional(way.dropped, (count) => withReasons(count, way.dropped_by)),
    milliseconds(way.jitter_ms),
    optional(way.gaps, number),
    optional(way.longest_gap_ms, milliseconds),
  ];
}

/** The score in words; empty without one. */
export function qualityText(quality) {
  if (!quality) return "";
  const why = said(quality.why, quality.parts);
  return `${t("quality")}: ${t("score_of", { score: number(quality.score, 1), why })}`;
}

function optional(value, text) {
  return value == null ? NOTHING : text(value);
}

function withReasons(count, reasons) {
  const given = Object.entries(reasons ?? {}).filter(([, each]) => each > 0);
  const why = given.map(([name, each]) => `${name.replaceAll("_", " ")} ${number(each)}`).join(", ");
  return why ? `${number(count)} (${why})` : number(count);
}

function format(audio) {
  if (audio === null || typeof audio !== "object") return "";
  const { format: name, sample_rate: rate, channels, frame_duration: frame } = audio;
  const parts = [name, rate && `${rate} Hz`, channels && `${channels} ch`, frame && `${frame} ms`];
  return parts.filter(Boolean).join(", ");
}
