// The queue of uploads: pictures wait in IndexedDB until the hub has acknowledged them.
//
// An item has a state: waiting → sending → stored → accepted or rejected; or refused, if the hub says that sending it
// again would not help. "stored" means that Kafka has acknowledged it. Its id is made here, so that sending it again,
// after a lost answer or from a second tab, stores it once.

const DATABASE = "hub-uploads";
const PARALLEL = 2;
const LONGEST_PAUSE = 60_000;
const KEPT = 24 * 3600_000; // an item without open questions is shown for a day

export class UploadQueue extends EventTarget {
  #database;
  #running = new Map(); // id → XMLHttpRequest
  #timer;
  #channel = new BroadcastChannel(DATABASE);
  #leader = false;

  constructor(device) {
    super();
    this.device = device;
  }

  /** Open the database, and begin to send what waits. */
  async open() {
    this.#database = await request(Object.assign(indexedDB.open(DATABASE, 1), {
      onupgradeneeded: (event) => event.target.result.createObjectStore("items", { keyPath: "id" }),
    }));
    this.#channel.onmessage = (event) => {
      this.#tell(event.data);
      if (this.#leader) this.drain();
    };
    addEventListener("online", () => this.drain());
    addEventListener("pageshow", () => this.drain());
    document.addEventListener("visibilitychange", () => document.hidden || this.drain());
    await this.#forgetOld();
    this.#lead();
  }

  /** Add pictures; each gets an id of its own. */
  async add(files, fields) {
    const items = files.map((file) => ({
      id: crypto.randomUUID?.() ?? randomId(), state: "waiting", added: Date.now(), time: new Date().toISOString(),
      name: file.name, type: file.type, size: file.size, file, attempts: 0, next: 0, ...fields,
    }));
    await Promise.all(items.map((item) => this.#put(item))); // safe before anything else is done
    this.drain();
    for (const item of items) {
      const small = await preview(item.file);
      if (small) await this.#update(item.id, () => ({ preview: small }));
    }
  }

  /** All items, the newest first. */
  async items() {
    const all = await request(this.#store("readonly").getAll());
    return all.sort((one, other) => other.added - one.added);
  }

  /** Forget an item; one that is being sent is broken off. */
  async remove(id) {
    this.#running.get(id)?.abort();
    await request(this.#store("readwrite").delete(id));
    this.#tell(id, true);
  }

  /** Keep the verdict on an item of this queue. */
  async settle(status) {
    const { id, state, reason, detail, what, todo, picture } = status;
    await this.#update(id, (item) => {
      const known = settled(item.state) || (state === "stored" && item.state === "stored");
      return known ? null : { state, reason, detail, what, todo, picture, why: "", file: null };
    });
  }

  /** Ask for the verdicts that may have come while nobody listened. */
  async ask() {
    for (const item of await this.items()) {
      if (item.state !== "stored") continue;
      const answer = await fetch(`/api/v1/uploads/${item.id}`).catch(() => null);
      if (answer?.ok) await this.settle(await answer.json());
    }
  }

  /** Send what waits and is due. */
  async drain() {
    if (!this.#leader || !navigator.onLine) return;
    clearTimeout(this.#timer);
    const waiting = (await this.items()).filter((each) => each.state === "waiting" || each.state === "sending");
    waiting.sort((one, other) => one.added - other.added);
    let soonest = Infinity;
    for (const item of waiting) {
      if (this.#running.has(item.id)) continue;
      if (item.next > Date.now()) soonest = Math.min(soonest, item.next);
      else if (this.#running.size < PARALLEL) this.#send(item);
    }
    if (soonest < Infinity) this.#timer = setTimeout(() => this.drain(), soonest - Date.now() + 20);
  }

  // One tab at a time sends; the next one takes over when it is closed.
  #lead() {
    const lead = () => {
      this.#leader = true;
      this.drain();
      return new Promise(() => {});
    };
    if (navigator.locks) navigator.locks.request(DATABASE, lead);
    else lead();
  }

  #send(item) {
    const query = new URLSearchParams({ id: item.id, label: item.label, time: item.time, device: this.device });
    if (item.geo) query.set("geo", item.geo);
    if (item.batch) query.set("batch", item.batch);
    const call = new XMLHttpRequest();
    this.#running.set(item.id, call);
    call.open("POST", `/api/v1/uploads?${query}`);
    call.setRequestHeader("Content-Type", item.type.startsWith("image/") ? item.type : "application/octet-stream");
    call.timeout = 120_000;
    call.upload.onprogress = (event) => this.dispatchEvent(new CustomEvent("progress", {
      detail: { id: item.id, share: event.loaded / event.total },
    }));
    call.onloadend = () => this.#answered(item, call);
    this.#update(item.id, () => ({ state: "sending", why: "" }));
    call.send(item.file);
  }

  async #answered(item, call) {
    const problem = call.status === 202 ? {} : json(call.responseText);
    try {
      await this.#update(item.id, (current) => this.#outcome(item, current, call, problem));
    } finally {
      this.#running.delete(item.id); // only now: else it could be sent a second time
    }
    this.drain();
  }

  /** What an answer changes in an item. */
  #outcome(item, current, call, problem) {
    const attempts = item.attempts + 1;
    if (call.status === 202) {
      // The verdict may have come before the answer.
      return { state: settled(current.state) || "stored", stored: Date.now(), attempts, why: "", file: null };
    }
    if ([409, 413, 415, 422].includes(call.status)) {
      return { state: "refused", attempts, why: problem.detail ?? `error ${call.status}`, file: null };
    }
    const after = Number(call.getResponseHeader("Retry-After")) * 1000 || 0;
    const pause = Math.min(LONGEST_PAUSE, 1000 * 2 ** Math.min(attempts, 6)) * (0.5 + Math.random() / 2);
    return { state: "waiting", attempts, why: waits(call.status, problem), next: Date.now() + Math.max(after, pause) };
  }

  async #forgetOld() {
    for (const item of await this.items()) {
      const done = ["accepted", "rejected", "refused"].includes(item.state);
      if (done && Date.now() - item.added > KEPT) await request(this.#store("readwrite").delete(item.id));
    }
  }

  async #put(item) {
    await request(this.#store("readwrite").put(item));
    this.#tell(item.id, true);
  }

  /** Change an item in one transaction; `change` may return null to leave it. */
  async #update(id, change) {
    const store = this.#store("readwrite");
    const item = await request(store.get(id));
    const changed = item && change(item);
    if (!changed) return;
    await request(store.put({ ...item, ...changed }));
    this.#tell(id, true);
  }

  #store(mode) {
    return this.#database.transaction("items", mode).objectStore("items");
  }

  #tell(id, others = false) {
    this.dispatchEvent(new CustomEvent("change", { detail: { id } }));
    if (others) this.#channel.postMessage(id);
  }
}

/** Follow the verdicts on uploads of a device, also over breaks of the connection. */
export function followVerdicts(device, queue) {
  const last = localStorage.getItem("hub-last-verdict") ?? "";
  const source = new EventSource(`/api/v1/uploads/verdicts?${new URLSearchParams({ device, last })}`);
  source.addEventListener("verdict", (event) => {
    if (event.lastEventId) localStorage.setItem("hub-last-verdict", event.lastEventId);
    queue.settle(JSON.parse(event.data));
  });
  source.addEventListener("reset", () => queue.ask());
  source.addEventListener("open", () => {
    queue.ask();
    queue.drain(); // the hub is back
  });
  addEventListener("pagehide", () => source.close());
  return source;
}

/** The id of this browser, made on first use. */
export function deviceId() {
  let id = localStorage.getItem("hub-device");
  if (!id) localStorage.setItem("hub-device", (id = `web-${randomId().slice(0, 12)}`));
  return id;
}

/** The state, if it is a verdict. */
function settled(state) {
  return state === "accepted" || state === "rejected" ? state : null;
}

/** Why an item waits. */
function waits(status, problem) {
  if (status === 401) return "Log in again to send it.";
  return status === 0 ? "The hub cannot be reached." : problem.detail ?? `The hub answered ${status}.`;
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function request(asked) {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** A small picture of a file, which the list shows; null if the browser cannot open it, such as HEIC in many. */
async function preview(file) {
  try {
    const bitmap = await createImageBitmap(file, { resizeWidth: 128, resizeQuality: "medium" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    return await canvas.convertToBlob({ type: "image/jpeg", quality: 0.7 });
  } catch {
    return null;
  }
}
