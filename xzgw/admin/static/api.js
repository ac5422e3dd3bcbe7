// The gateway's API as one who has a token sees it. The token is kept here and nowhere else.

import { t } from "./i18n.js";

const PATIENCE = 15; // s that an answer may take

/** An answer that is no success; status 0 means that there was none. */
export class ApiError extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter; // s
  }
}

export class Api {
  #token;
  #expired;

  /**
   * @param {string} token
   * @param {function} expired called when the token is not good (any more)
   */
  constructor(token, expired) {
    this.#token = token;
    this.#expired = expired;
  }

  /** Whether this can be a token at all: anything else cannot even be sent. */
  static plausible(token) {
    return /^[\x21-\x7e]{1,200}$/.test(token);
  }

  get(path) {
    return this.#json("GET", path);
  }

  post(path, body, seconds = PATIENCE) {
    return this.#json("POST", path, body, seconds);
  }

  delete(path) {
    return this.#json("DELETE", path);
  }

  /** A file's content. */
  async download(path) {
    const answer = await this.#ask("GET", path, { signal: AbortSignal.timeout(60000) });
    return answer.blob();
  }

  /** An answer that does not end; its body is for the caller to read. */
  stream(path, headers, signal) {
    return this.#ask("GET", path, { headers, signal });
  }

  async #json(method, path, body, seconds = PATIENCE) {
    const options = { signal: AbortSignal.timeout(seconds * 1000) };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers = { "Content-Type": "application/json" };
    }
    const answer = await this.#ask(method, path, options);
    if (answer.status === 204) return null;
    try {
      return await answer.json();
    } catch (error) {
      throw new ApiError(0, t("no_answer"));
    }
  }

  async #ask(method, path, options) {
    const headers = { ...options.headers, Authorization: `Bearer ${this.#token}` };
    let answer;
    try {
      answer = await fetch(path, { ...options, method, headers, cache: "no-store" });
    } catch (error) {
      throw new ApiError(0, t("no_answer"));
    }
    if (answer.ok) return answer;
    if (answer.status === 401) this.#expired();
    const retryAfter = Number(answer.headers.get("Retry-After")) || null;
    throw new ApiError(answer.status, await reason(answer), retryAfter);
  }
}

/** The path of one device. */
export function devicePath(clientId, rest = "") {
  return `v1/devices/${encodeURIComponent(clientId)}${rest}`;
}

async function reason(answer) {
  try {
    const problem = await answer.json();
    return problem.detail ?? problem.error ?? `HTTP ${answer.status}`;
  } catch (error) {
    return `HTTP ${answer.status}`;
  }
}
