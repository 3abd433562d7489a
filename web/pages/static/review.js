// Review: the next picture is shown at once; decisions wait in localStorage and are saved one after the other.
const $ = (id) => document.getElementById(id);
const page = $("review"), KEY = "hub-review-unsaved", AHEAD = 4, REFILL = 8;
const names = new Map([...document.querySelectorAll("#label-names option")].map((o) => [o.textContent, o.value]));
const name = (slug) => names.get(slug) || (slug || "").replaceAll("_", " ");
let items = [], current = null, waiting = 0, done = 0, loading = null, saving = false;
const seen = new Set(), past = [];
let unsaved = JSON.parse(localStorage.getItem(KEY) || "[]");
unsaved.forEach((each) => seen.add(each.image_id));

const address = (item, size) => `/api/v1/uploads/${encodeURIComponent(item.upload_id || "")}/picture${size}`;
const keep = () => localStorage.setItem(KEY, JSON.stringify(unsaved));

async function load() {
  const query = new URLSearchParams({ limit: 60 });
  if (page.dataset.label) query.set("label", page.dataset.label);
  if (page.dataset.unchecked) query.set("unchecked", "true");
  const answer = await fetch(`/api/v1/reviews/queue?${query}`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const found = await answer.json();
  waiting = Math.max(0, found.waiting - unsaved.length);
  const known = new Set(items.map((each) => each.image_id));
  items.push(...found.items.filter((each) => !seen.has(each.image_id) && !known.has(each.image_id)));
}

function refill() {
  if (items.length < REFILL && !loading) {
    loading = load().catch((error) => tell(error.message)).finally(() => { loading = null; });
  }
  return loading;
}

async function next() {
  if (!items.length) await refill();
  show(items.shift() || null);
  refill();
  for (const each of items.slice(0, AHEAD)) new Image().src = address(each, "");
}

function show(item) {
  current = item;
  page.hidden = !item;
  $("empty").hidden = !!item;
  if (!item) return;
  seen.add(item.image_id);
  $("shot").src = address(item, "");
  $("shot").alt = `picture, labelled ${name(item.label)}`;
  $("label").textContent = name(item.label);
  $("reason").textContent = item.reason || "";
  $("accept").hidden = !item.suggested_label;
  $("suggested").textContent = name(item.suggested_label);
  $("stack").textContent = item.stacked > 1 ? `stands for ${item.stacked} near duplicates` : "";
  $("more").href = `/pictures/${item.image_id}`;
  $("to").value = "";
  tell();
}

function tell(problem) {
  const left = `${done} decided, ${Math.max(0, waiting - done)} left`;
  $("status").textContent = problem || left + (unsaved.length > 1 ? `, ${unsaved.length} not saved yet` : "");
  $("undo").disabled = !past.length;
}

function decide(decision, label) {
  if (!current) return;
  unsaved.push({ image_id: current.image_id, decision, label });
  past.push(current);
  done += 1;
  keep();
  save();
  next();
}

function undo() {
  const item = past.pop();
  if (!item) return;
  const last = unsaved.at(-1);
  if (last && last.image_id === item.image_id && unsaved.length > (saving ? 1 : 0)) unsaved.pop();
  else unsaved.push({ image_id: item.image_id, decision: "undo" });
  done -= 1;
  keep();
  save();
  if (current) items.unshift(current);
  show(item);
}

async function save() {
  if (saving) return;
  saving = true;
  for (let wait = 1000; unsaved.length;) {
    let answer = null;
    try {
      answer = await fetch("/api/v1/reviews", {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ decisions: [unsaved[0]] }),
      });
    } catch { /* the network is away: try again */ }
    if (answer && answer.status < 500 && answer.status !== 429) {
      const { image_id: id } = unsaved.shift();
      keep();
      if (!answer.ok) {
        tell(`Not saved: ${(await answer.json()).detail}`);
        const at = past.findIndex((each) => each.image_id === id);
        if (at >= 0) { items.unshift(past.splice(at, 1)[0]); done -= 1; }
      } else { tell(); }
      wait = 1000;
    } else {
      tell(`${unsaved.length} not saved yet: the server does not answer. It is tried again.`);
      await new Promise((go) => setTimeout(go, wait));
      wait = Math.min(wait * 2, 15000);
    }
  }
  saving = false;
}

const acts = {
  keep: () => decide("keep"),
  accept: () => current && current.suggested_label && decide("relabel", current.suggested_label),
  none_of_these: () => decide("none_of_these"),
  skip: next,
  undo,
};
for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", act);
$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("to").value.trim()) { decide("relabel", $("to").value.trim()); $("to").blur(); }
});
const keys = { y: acts.keep, a: acts.accept, r: acts.none_of_these, s: next, u: undo, c: () => $("to").focus() };
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("to").blur();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const act = keys[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});
save();
next();
