// A message for whoever looks at the device.

import { devicePath } from "./api.js";
import { field, h, notify, panel } from "./dom.js";
import { t } from "./i18n.js";

// Source: xiaozhi-esp32 main/display/lvgl_display/emoji_collection.cc
const EMOTIONS = [
  "neutral", "happy", "laughing", "funny", "sad", "angry", "crying", "loving", "embarrassed",
  "surprised", "shocked", "thinking", "winking", "cool", "relaxed", "delicious", "kissy",
  "confident", "sleepy", "silly", "confused",
];

export class AlertPanel {
  constructor(api, id) {
    const status = h("input", { name: "status", value: t("alert_status_value"), maxlength: 100, required: true });
    const message = h("input", { name: "message", maxlength: 500, required: true });
    const emotion = h("select", { name: "emotion" }, ...EMOTIONS.map((name) => h("option", {}, name)));
    const push = async (event) => {
      event.preventDefault();
      const alert = { status: status.value, message: message.value, emotion: emotion.value };
      try {
        await api.post(devicePath(id, "/messages"), { type: "alert", ...alert });
        message.value = "";
        notify(t("alert_sent"));
      } catch (error) {
        notify(error.message, "bad");
      }
    };
    this.element = panel(t("alert"), { id: "alert" }, h("form", { onsubmit: push },
      h("div", { class: "fields" }, field(t("alert_status"), status), field(t("alert_emotion"), emotion)),
      field(t("alert_message"), message),
      h("div", { class: "row" }, h("button", { class: "primary" }, t("send")))));
  }
}
