// Elements. Whatever devices or servers say is only ever set as text, never as markup.

/**
 * Make an element.
 * @param {string} tag
 * @param {object} attributes `on...` are listeners; true sets an empty attribute, false and null none
 * @param {...(Node|string|null)} children strings become text
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...present(children));
  return element;
}

/** Put these in place of all that an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

/** Set an element's text, at no cost if it is the same. */
export function say(element, text) {
  const wanted = text ?? "";
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** A state in a word, with the colour of `tone`: ok, warn, bad, info or dim. */
export function badge(text, tone = "dim") {
  return h("span", { class: `badge ${tone}` }, text);
}

/** A panel with a heading. */
export function panel(title, attributes, ...children) {
  return h("section", { ...attributes, class: `panel ${attributes.class ?? ""}` },
    h("h2", {}, title), ...children);
}

/** A field with its label around it. */
export function field(label, input, hint = null) {
  return h("label", { class: "field" }, h("span", { class: "label" }, label), input,
    hint && h("span", { class: "hint" }, hint));
}

const NOTICE_TIME = 6000; // ms
const MOST_NOTICES = 4;

/** Tell the user what became of an action; goes away by itself. */
export function notify(text, tone = "ok") {
  const notices = document.getElementById("notices");
  const notice = h("div", { class: `notice ${tone}` }, text);
  notices.append(notice);
  while (notices.children.length > MOST_NOTICES) notices.firstChild.remove();
  setTimeout(() => notice.remove(), NOTICE_TIME);
}

/** A button that acts on the second press, which must come within a few seconds. */
export function sureButton(text, question, act, attributes = {}) {
  let timer = null;
  const calm = () => {
    clearTimeout(timer);
    timer = null;
    button.classList.remove("armed");
    say(button, text);
  };
  const press = () => {
    if (timer !== null) {
      calm();
      act();
      return;
    }
    timer = setTimeout(calm, 4000);
    button.classList.add("armed");
    say(button, question);
  };
  const button = h("button", { type: "button", ...attributes, onclick: press }, text);
  return button;
}

function present(children) {
  return children.flat(2).filter((child) => child != null && child !== false);
}
