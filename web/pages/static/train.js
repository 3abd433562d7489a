// Train: how many pictures are chosen, and what is missing.
const form = document.querySelector("form.train");
if (form) {
  const boxes = [...form.querySelectorAll("input[name=label]")];
  const tell = () => {
    const chosen = boxes.filter((box) => box.checked);
    const images = chosen.reduce((sum, box) => sum + Number(box.dataset.images), 0);
    const short = chosen.filter((box) => !box.dataset.ready).length;
    let text = chosen.length ? `${chosen.length} labels, ${images.toLocaleString("en")} pictures` : "Choose at least two labels.";
    if (short) text += `; ${short} of the labels ${short === 1 ? "has" : "have"} fewer than ${form.dataset.wanted} pictures`;
    document.getElementById("sum").textContent = text;
  };
  const choose = (test) => { boxes.forEach((box) => { box.checked = test(box); }); tell(); };
  document.getElementById("choose-ready").addEventListener("click", () => choose((box) => box.dataset.ready));
  document.getElementById("choose-none").addEventListener("click", () => choose(() => false));
  form.addEventListener("change", tell);
  tell();
}
