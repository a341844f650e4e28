// A click on a heading sorts by that column; a second one turns the order round.
for (const [column, head] of [...document.querySelectorAll("th")].entries()) {
  head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.cells[column].dataset.value;
    const order = (a, b) => {
      const [x, y] = [Number(value(a)), Number(value(b))];
      const found = Number.isNaN(x) || Number.isNaN(y)
        ? value(a).localeCompare(value(b)) : x - y;
      return down ? -found : found;
    };
    const body = document.querySelector("tbody");
    body.append(...[...body.rows].sort(order));
    for (const other of document.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  });
}
