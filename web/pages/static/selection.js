// Shift-click selects all pictures between two; the bar of actions says how many are selected.
document.querySelectorAll("form.selectable").forEach((form) => {
  const boxes = [...form.querySelectorAll("input[name=image]")];
  const option = form.querySelector("select[name=scope] option");
  let last = null;
  const tell = () => {
    const count = boxes.filter((box) => box.checked).length;
    option.textContent = count ? `the ${count} that I selected` : "that I selected";
    form.classList.toggle("selecting", count > 0);
  };
  boxes.forEach((box, index) => box.addEventListener("click", (event) => {
    if (event.shiftKey && last !== null) {
      const [from, to] = [Math.min(last, index), Math.max(last, index)];
      for (const each of boxes.slice(from, to + 1)) each.checked = box.checked;
    }
    last = index;
    tell();
  }));
  tell();
});
