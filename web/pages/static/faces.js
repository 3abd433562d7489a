// Faces: frames the faces of a picture, names whose they look like, and compares the faces of two pictures.
const $ = (selector) => document.querySelector(selector);
const SVG = "http://www.w3.org/2000/svg";
const files = { first: null, second: null };
let asked = 0;

for (const input of document.querySelectorAll(".taker input")) {
  input.addEventListener("change", () => {
    if (!input.files.length) return;
    files[input.dataset.place] = input.files[0];
    input.value = "";
    look();
  });
}
$("#model").addEventListener("change", () => files.first && look());

async function ask(path, body, mine, more = {}) {
  const query = new URLSearchParams({ jpeg: true, ...more });
  if ($("#model").value) query.set("model", $("#model").value);
  for (;;) {
    const answer = await fetch(`/api/v1/${path}?${query}`, { method: "POST", body });
    const found = await answer.json();
    if (answer.ok) return found;
    if (answer.status !== 503 || !found.retry_after || mine !== asked) throw new Error(found.detail);
    $("#status").textContent = `${found.detail[0].toUpperCase()}${found.detail.slice(1)} … (this page asks by itself)`;
    await new Promise((done) => setTimeout(done, 1000 * found.retry_after));
  }
}

async function look() {
  const mine = ++asked;
  if (!files.first) { files.first = files.second; files.second = null; }
  $("#status").textContent = "Looking …";
  $("#distance").hidden = true;
  if (!files.second) $("#second").hidden = true;
  try {
    await (files.second ? compare(mine) : find(mine));
  } catch (error) {
    if (mine !== asked) return;
    for (const place of Object.keys(files)) $(`#${place}`).hidden = true;
    $("#status").textContent = error instanceof TypeError ? "The hub does not answer. Try again." : error.message;
    if (files.second) files.second = null;
  }
}

async function find(mine) {
  const found = await ask("faces", files.first, mine, { top: 3 });
  if (mine !== asked) return;
  show("first", found, found.faces.map((face) => face.box));
  const list = $("#first ol");
  list.replaceChildren(...found.faces.map((face, n) => item(`Face ${n + 1}: `, names(face, found.threshold))));
  const count = found.faces.length;
  const told = count ? `${count} face${count > 1 ? "s" : ""}.` : "No face was found: take it nearer, upright and in light.";
  const nobody = count && !found.compared_with ? " No picture of the model's dataset has a face to compare with." : "";
  $("#status").textContent = told + nobody;
}

async function compare(mine) {
  const body = new FormData();
  body.append("first", files.first);
  body.append("second", files.second);
  const found = await ask("compare", body, mine);
  if (mine !== asked) return;
  for (const place of Object.keys(files)) {
    show(place, found[place], [found[place].box]);
    const more = found[place].faces - 1;
    $(`#${place} ol`).replaceChildren(...(more ? [item("", `The largest of ${more + 1} faces is compared.`)] : []));
  }
  const limit = found.threshold === null ? "" : ` The model's validation takes two pictures below ${found.threshold.toFixed(2)} for the same person.`;
  const verdict = found.same === null ? "" : found.same ? ": probably the same person" : ": probably two people";
  $("#distance-title").textContent = `Distance ${found.distance.toFixed(2)}${verdict}`;
  $("#distance p").textContent = `0 is the same face, 4 the farthest.${limit} A model errs: decide nothing about a person by this alone.`;
  $("#distance").hidden = false;
  $("#status").textContent = "";
}

function names(face, threshold) {
  if (!face.identities.length) return "nobody to compare with";
  const name = ({ label }) => label.replaceAll("_", " ");
  const list = face.identities.map((each) => `${name(each)} ${each.distance.toFixed(2)}`).join(" · ");
  if (threshold === null) return `distances ${list}`;
  const [nearest] = face.identities;
  return nearest.distance < threshold ? `probably ${name(nearest)} (distances ${list})` : `nobody the model knows (nearest ${list})`;
}

function item(name, text) {
  const made = document.createElement("li"), strong = document.createElement("strong");
  strong.textContent = name;
  made.append(strong, text);
  return made;
}

function show(place, picture, boxes) {
  const svg = $(`#${place} svg`), image = document.createElementNS(SVG, "image");
  const bytes = Uint8Array.from(atob(picture.jpeg), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  const old = svg.querySelector("image");
  if (old) URL.revokeObjectURL(old.getAttribute("href"));
  svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
  for (const [name, value] of Object.entries({ href: address, width: picture.width, height: picture.height })) image.setAttribute(name, value);
  svg.replaceChildren(image, ...boxes.flatMap((box, n) => frame(box, n + 1, picture)));
  $(`#${place}`).hidden = false;
}

function frame(box, number, picture) {
  const size = Math.max(picture.width, picture.height) / 28;
  const rect = document.createElementNS(SVG, "rect"), text = document.createElementNS(SVG, "text");
  for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value);
  rect.setAttribute("stroke-width", size / 7);
  text.textContent = number;
  text.setAttribute("x", box.x + size / 4);
  text.setAttribute("y", box.y + size);
  text.setAttribute("font-size", size);
  return [rect, text];
}
