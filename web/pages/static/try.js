// Try: sends a chosen picture to the model and to the index of similar pictures; a correction is an upload.
import { UploadQueue, deviceId } from "./upload-queue.js";

const $ = (selector) => document.querySelector(selector);
let file = null, shown = null, queue = null;

for (const input of document.querySelectorAll(".taker input")) {
  input.addEventListener("change", () => {
    if (input.files.length) look(input.files[0]);
    input.value = "";
  });
}
$("#model").addEventListener("change", () => file && look(file));

async function ask(address, body) {
  const answer = await fetch(address, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail);
  return found;
}

async function look(chosen) {
  file = chosen;
  const mine = file;
  const image = $("#given img");
  if (shown) URL.revokeObjectURL(shown);
  image.src = shown = URL.createObjectURL(file);
  image.onerror = () => { $("#given").hidden = true; }; // HEIC, which only the hub can open
  $("#given").hidden = false;
  $("#status").textContent = "Looking …";
  $("#told").textContent = "";
  const query = new URLSearchParams({ top: 5 });
  if ($("#model").value) query.set("model", $("#model").value);
  similar(mine);
  try {
    const found = await ask(`/api/v1/predict?${query}`, file);
    if (file !== mine) return;
    $("#labels").replaceChildren(...found.labels.map(row));
    $("#by").textContent = `says ${found.model_id}`;
    $("#answer").hidden = $("#wrong").hidden = false;
    $("#status").textContent = found.flags.length ? `The picture is ${found.flags.join(", ").replaceAll("_", " ")}; that may mislead the model.` : "";
  } catch (error) {
    if (file !== mine) return;
    $("#answer").hidden = $("#wrong").hidden = true;
    $("#status").textContent = error instanceof TypeError ? "The hub does not answer. Try again." : error.message;
  }
}

function row({ label, probability }) {
  const item = document.createElement("li"), text = document.createElement("span");
  const bar = document.createElement("progress"), number = document.createElement("span");
  text.textContent = label.replaceAll("_", " ");
  bar.max = 1;
  bar.value = probability;
  bar.setAttribute("aria-label", text.textContent);
  number.className = "number";
  number.textContent = `${(100 * probability).toFixed(1)} %`;
  item.append(text, bar, number);
  return item;
}

async function similar(mine) {
  const section = $("#similar");
  if (!section) return;
  section.hidden = true;
  try {
    const { matches } = await ask("/api/v1/similar?count=12", mine);
    if (file !== mine) return;
    section.querySelector("ul").replaceChildren(...matches.filter((each) => each.upload_id).map((each) => {
      const item = document.createElement("li"), link = document.createElement("a"), image = new Image(96, 96);
      item.className = "tile";
      link.href = `/pictures/${each.image_id}`;
      image.src = `/api/v1/uploads/${encodeURIComponent(each.upload_id)}/picture?size=thumbnail`;
      image.alt = link.title = `${(each.label || "").replaceAll("_", " ")}, similarity ${each.similarity.toFixed(2)}`;
      link.append(image);
      item.append(link);
      return item;
    }));
    section.hidden = !matches.length;
  } catch { /* no embeddings yet: the page is complete without them */ }
}

$("#wrong").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!queue) {
    queue = new UploadQueue(deviceId());
    await queue.open();
  }
  await queue.add([file], { label: event.target.elements.label.value.trim(), geo: null, batch: "corrections" });
  $("#told").textContent = "Thank you: it is on its way, and listed in My uploads.";
  event.target.elements.label.value = "";
});
