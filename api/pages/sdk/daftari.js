// Pay by M-Pesa from a web page. Types: daftari.d.ts. Guide: docs/browser.md of Daftari.
/** @import * as T from "./daftari.js" */

const SESSIONS = "/api/payments/sessions/";
const SETTLED = ["order_created", "failed", "expired"];
const [STREAM, LONG_POLL, POLL] = [0, 1, 2]; // The ways to watch, the best first.
const TRIES = 5;

// In seconds:
const TIMEOUT = 40;
const MAX_WAIT = 10; // The buyer is looking on.
const POLL_EVERY = 3;
const BEGINS = 10; // A stream does at once, unless a proxy holds it back,
const SILENCE = 35; // and has a heartbeat every 15.
const FALLEN_FOR = 60;

export class DaftariError extends Error {
  /** @param {string} code @param {string} message @param {T.ErrorDetails} details */
  constructor(code, message, { status = 0, fields = {}, retryAfter = null, cause }) {
    super(message, { cause });
    this.name = "DaftariError";
    this.code = code;
    this.status = status;
    this.fields = fields;
    this.retryAfter = retryAfter;
  }
}

export class Daftari {
  #url;
  #token;

  /** @param {T.Setup} setup */
  constructor({ url = new URL(import.meta.url).origin, token }) {
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
  }

  /** @param {T.NewSession} body @param {T.CommandOptions} [options] */
  create(body, options) {
    return this.request("POST", SESSIONS, { ...options, body });
  }

  /** @param {string} id @param {T.PayOptions} [options] */
  pay(id, { phone: phone_number, ...options } = {}) {
    return this.request("POST", `${pathOf(id)}initiate_payment/`, { ...options, body: { phone_number } });
  }

  /** @param {string} id @param {T.CommandOptions} [options] */
  extend(id, options) {
    return this.request("POST", `${pathOf(id)}extend_session/`, options);
  }

  /** @param {string} id @param {T.Options} [options] */
  session(id, options) {
    return this.request("GET", pathOf(id), options);
  }

  /** @param {string} method @param {string} path @param {T.RequestOptions} [options] */
  async request(method, path, { body, key, signal } = {}) {
    // A POST keeps its key however often it is sent: it takes effect once.
    if (method === "POST") key ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
    for (let tries = 1; ; tries++) {
      const bound = bounded(signal, TIMEOUT);
      try {
        const headers = key ? { "Idempotency-Key": key } : {};
        return await (await this.#send(path, { method, headers, body: JSON.stringify(body), ...bound })).json();
      } catch (error) {
        const problem = problemOf(error, signal);
        const wait = problem.retryAfter ?? backoff(tries);
        if (tries === TRIES || wait > MAX_WAIT || !mayPass(problem)) throw problem;
        await pause(wait, signal);
      } finally {
        bound.end();
      }
    }
  }

  /** @param {string} id @param {T.WatchOptions} [options] */
  async watch(id, { onChange, onProblem, signal } = {}) {
    let [way, seen, failures, fellAt, shown] = [STREAM, 0, 0, 0, ""];
    for (;;) {
      let problem;
      let isNew = false;
      let wait = way === POLL ? POLL_EVERY : 1;
      for await (const found of this.#statuses(way, id, seen, signal)) {
        if (found instanceof DaftariError) problem = found;
        else {
          [seen, failures, isNew] = [found.version, 0, true];
          const state = seen + found.session_status; // A session expires without a new version.
          if (state !== shown) await onChange?.(found);
          if (SETTLED.includes(found.session_status)) return found;
          shown = state;
        }
      }
      if (problem) {
        const { status, code, retryAfter } = problem;
        const isRefused = status >= 400 && status < 500 && status !== 408 && status !== 429;
        if (isRefused && way === POLL) throw problem;
        onProblem?.(problem);
        const hasNoRoom = /^(TOO_MANY_WAITING|NO_ROOM_TO_WAIT)$/.test(code);
        wait = isRefused || hasNoRoom ? 0 : Math.max(retryAfter ?? 0, backoff(++failures));
        if (!isNew) way = hasNoRoom ? POLL : Math.min(way + 1, POLL);
        fellAt = Date.now();
      } else if (Date.now() > fellAt + 1000 * FALLEN_FOR) way = STREAM;
      if (await pause(Math.min(wait, 300), signal, problem?.status === 0)) way = STREAM;
    }
  }

  // Yields statuses, and the problem that ends them.
  /** @param {AbortSignal} [signal] @returns {AsyncGenerator} */
  async *#statuses(way = STREAM, id = "", seen = 0, signal) {
    const bound = bounded(signal, way === STREAM ? BEGINS : TIMEOUT);
    const what = ["stream/", `status/?wait=25&after=${seen}`, "status/"][way];
    const headers = way === STREAM && seen ? { "Last-Event-ID": `${seen}` } : {};
    try {
      const answer = await this.#send(pathOf(id) + what, { headers, ...bound });
      if (way !== STREAM) return yield await answer.json();
      const reader = answer.body?.getReader();
      const decoder = new TextDecoder();
      for (let text = ""; ; ) {
        const { value } = (await reader?.read()) ?? {};
        if (!value) throw new Error("The stream has ended.");
        bound.renew();
        const frames = (text + decoder.decode(value, { stream: true })).split("\n\n");
        text = frames.pop() ?? "";
        for (const frame of frames) {
          const data = /^data: (.+)/m.exec(frame);
          if (data) yield JSON.parse(data[1]);
        }
      }
    } catch (error) {
      yield problemOf(error, signal);
    } finally {
      bound.end();
    }
  }

  /** @param {any} init */
  async #send(path = "", init) {
    for (let refused = ""; ; ) {
      const token = typeof this.#token === "string" ? this.#token : await this.#token(refused);
      const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json", ...init.headers };
      const answer = await fetch(this.#url + path, { ...init, headers });
      if (answer.ok) return answer;
      if (answer.status !== 401 || refused || token === this.#token) throw await refusalOf(answer);
      refused = token;
    }
  }
}

const pathOf = (id = "") => `${SESSIONS}${encodeURIComponent(id)}/`;

const backoff = (failures = 1) => Math.min(30, 2 ** (failures - 1));

/** @param {DaftariError} problem */
const mayPass = ({ code, status }) =>
  status >= 500 ? code !== "PAYMENT_REFUSED" : !status || /^(CONFLICT|IDEMPOTENCY_KEY_IN_USE)$/.test(code);

/** @param {unknown} cause @param {AbortSignal} [signal] */
const problemOf = (cause, signal) => {
  signal?.throwIfAborted();
  return cause instanceof DaftariError ? cause : new DaftariError("NETWORK", "No answer came.", { cause });
};

/** @param {Response} answer */
const refusalOf = async (answer) => {
  const { status, headers } = answer;
  const told = await answer.json().catch(() => null);
  const code = told?.error_code ?? `HTTP_${status}`;
  const retryAfter = Number(headers.get("Retry-After")) || null;
  return new DaftariError(code, told?.message ?? code, { status, fields: told?.errors, retryAfter });
};

/** @param {AbortSignal | undefined} signal @param {number} seconds */
const bounded = (signal, seconds) => {
  signal?.throwIfAborted();
  const control = new AbortController();
  const end = () => (clearTimeout(timer), control.abort());
  const renew = () => (clearTimeout(timer), (timer = setTimeout(end, 1000 * SILENCE)));
  let timer = setTimeout(end, 1000 * seconds);
  signal?.addEventListener("abort", end, { signal: control.signal });
  return { signal: control.signal, renew, end };
};

// Waits a little longer, lest all come back at once; or until the browser is online again: true.
/** @param {number} seconds @param {AbortSignal} [signal] @param {boolean} [endsOnline] */
const pause = async (seconds, signal, endsOnline) => {
  const bound = bounded(signal, seconds * (1 + Math.random() / 2));
  const event = await new Promise((resolve) => {
    bound.signal.onabort = resolve;
    if (endsOnline) addEventListener("online", resolve, { signal: bound.signal });
  });
  bound.end();
  signal?.throwIfAborted();
  return event.type === "online";
};
