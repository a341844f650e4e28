// One switch for all code of the book, remembered; the filter of the table of verdicts.
(() => {
  "use strict";
  const KEY = "bookrun-show-code";

  const remembered = () => {
    try {
      return localStorage.getItem(KEY) === "yes";
    } catch {
      return false; // a page opened from the disk may have no storage
    }
  };
  const remember = (shown) => {
    try {
      localStorage.setItem(KEY, shown ? "yes" : "no");
    } catch {
      // the switch then holds for this page
    }
  };

  const addSwitch = () => {
    const cells = [...document.querySelectorAll(".bd-article div.cell details.hide")];
    const line = document.querySelector(".bookrun-take");
    if (!cells.length || !line) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "bookrun-code-switch";
    const show = (shown) => {
      for (const cell of cells) cell.open = shown;
      button.textContent = shown ? "Hide all code" : "Show all code";
      button.setAttribute("aria-pressed", String(shown));
    };
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      remember(shown);
      show(shown);
    });
    show(remembered());
    line.append(button);
  };

  const addFilter = () => {
    const bar = document.querySelector(".bookrun-filter");
    if (!bar) return;
    bar.hidden = false;
    const rows = [...document.querySelectorAll(".bookrun-ledger tbody tr")];
    const buttons = [...bar.querySelectorAll("button")];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const wanted = button.dataset.group;
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        for (const row of rows) {
          row.hidden = wanted !== "all" && !row.dataset.groups.split(" ").includes(wanted);
        }
      });
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    addSwitch();
    addFilter();
  });
})();
