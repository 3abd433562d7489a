// The upload page: adds pictures to the queue, and shows each with its state.
import { UploadQueue, deviceId, followVerdicts } from "./upload-queue.js";

const form = document.querySelector("#upload");
const list = document.querySelector("#queue");
const template = document.querySelector("#item");
const summary = document.querySelector("#summary");
const place = document.querySelector("#place");
const device = deviceId();
const queue = new UploadQueue(device);
const previews = new Map(); // id → object URL

const WORDS = {
  waiting: "Waits on this phone",
  sending: "Is being sent",
  stored: "Stored – is being checked",
  accepted: "Accepted",
  rejected: "Rejected",
  refused: "Not taken",
};

let geo = null, showing = false, again = false;

for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => add(input));
}
for (const name of ["label", "consent"]) remember(form.elements[name]);
// The page may be one that the service worker kept, of another batch.
form.elements.batch.value = (new URLSearchParams(location.search).get("batch") ?? "").slice(0, 200);
place.addEventListener("click", locate);
form.addEventListener("submit", (event) => event.preventDefault());
queue.addEventListener("change", () => show());
queue.addEventListener("progress", (event) => {
  const bar = list.querySelector(`[data-id="${event.detail.id}"] progress`);
  if (bar) bar.value = event.detail.share;
});

// A certificate that the browser does not trust (`hub serve --lan`) allows none; then the page needs the hub.
navigator.serviceWorker?.register("/static/upload-worker.js", { scope: "/upload" }).catch(() => {});
await queue.open();
await show();
followVerdicts(device, queue);

async function add(input) {
  const files = [...input.files];
  if (!files.length) return;
  if (!form.reportValidity()) {
    input.value = "";
    return;
  }
  const label = form.elements.label.value.trim();
  input.value = ""; // the next choice may come while previews are made of these
  await queue.add(files, { label, geo, batch: form.elements.batch.value });
}

/** Keep what was typed or ticked for the next time. */
function remember(field) {
  const key = `hub-${field.name}`;
  const kept = localStorage.getItem(key);
  if (field.type === "checkbox") field.checked = kept === "yes";
  else if (!field.value && kept) field.value = kept;
  field.addEventListener("change", () => {
    localStorage.setItem(key, field.type === "checkbox" ? (field.checked ? "yes" : "no") : field.value);
  });
}

function locate() {
  const note = document.querySelector("#place-note");
  if (geo) {
    geo = null;
    place.setAttribute("aria-pressed", "false");
    note.textContent = "No place is sent.";
    return;
  }
  note.textContent = "Asking your phone …";
  navigator.geolocation.getCurrentPosition(
    ({ coords }) => {
      // Two decimals are about a kilometre; the hub keeps even less.
      geo = `${coords.latitude.toFixed(2)},${coords.longitude.toFixed(2)}`;
      place.setAttribute("aria-pressed", "true");
      note.textContent = "The place is sent with the next pictures, to about a kilometre.";
    },
    (error) => {
      note.textContent = error.code === 1 ? "Your phone does not allow it; no place is sent." : "Your phone does not know where it is; no place is sent.";
    },
    { timeout: 15_000, maximumAge: 300_000 },
  );
}

/** Bring the list in line with the queue; calls while it works are joined into one more. */
async function show() {
  if (showing) {
    again = true;
    return;
  }
  showing = true;
  do {
    again = false;
    render(await queue.items());
  } while (again);
  showing = false;
}

function render(items) {
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  items.forEach((item, place) => {
    const row = rows.get(item.id) ?? create(item);
    rows.delete(item.id);
    update(row, item);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  for (const row of rows.values()) row.remove();
  const count = (...states) => items.filter((each) => states.includes(each.state)).length;
  const open = count("waiting", "sending");
  summary.textContent = !items.length ? "" : open
    ? `${open} of ${items.length} not stored yet. You may close this page: they stay on this phone, and are sent when it is open again.`
    : `All ${items.length} stored: ${count("accepted")} accepted, ${count("rejected", "refused")} not, ${count("stored")} being checked.`;
}

function create(item) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.dataset.id = item.id;
  row.querySelector(".label").textContent = item.label;
  row.querySelector(".file").textContent = `${item.name} · ${size(item.size)}`;
  row.querySelector("button").addEventListener("click", () => {
    URL.revokeObjectURL(previews.get(item.id));
    queue.remove(item.id);
  });
  return row;
}

function update(row, item) {
  if (item.preview && !previews.has(item.id)) {
    previews.set(item.id, URL.createObjectURL(item.preview));
    row.querySelector("img").src = previews.get(item.id);
    row.querySelector("img").hidden = false;
  }
  if (row.dataset.state === item.state && row.dataset.why === (item.why ?? "")) return;
  row.dataset.state = item.state;
  row.dataset.why = item.why ?? "";
  row.querySelector(".state").textContent = WORDS[item.state];
  row.querySelector(".what").textContent = item.state === "rejected" ? item.what ?? item.detail ?? "" : item.why ?? "";
  row.querySelector(".todo").textContent = item.state === "rejected" ? item.todo ?? "" : "";
  row.querySelector("progress").hidden = item.state !== "sending";
  const button = row.querySelector("button");
  button.hidden = item.state === "stored";
  button.textContent = ["waiting", "sending"].includes(item.state) ? "Do not send" : "Clear";
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
