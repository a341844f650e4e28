/* The search page: a number is a word to look for, and a quotation shows formulas as text. Sphinx
   leaves numbers out of a query, though its index has them, and quotes the source of formulas. */
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;

  const parse = Search._parseQuery;
  Search._parseQuery = (query) => {
    const [text, searched, excluded, highlighted, objects] = parse(query);
    for (const word of splitQuery(query)) {
      if (!/^\d{3,}$/.test(word)) continue;
      searched.add(word);
      highlighted.add(word);
    }
    return [text, searched, excluded, highlighted, objects];
  };

  const SYMBOLS = {
    alpha: "α", beta: "β", eta: "η", kappa: "κ", mu: "μ", rho: "ρ", sigma: "σ", varepsilon: "ε",
    cdot: "·", ge: "≥", in: "∈", infty: "∞", le: "≤", mapsto: "↦", nabla: "∇", sum: "Σ", times: "×",
    to: "→",
  };

  // a formula in letters and signs, and dots for one that needs more than a line of text
  function inWords(source) {
    const shown = source
      .replace(/^\s*\\[([]|\\[)\]]\s*$/g, "")
      .replace(/\\([a-z]+)\s*/gi, (command, name) => SYMBOLS[name] || command)
      .replace(/\\[,;! ]/g, " ")
      .replace(/_\{?(\w+)\}?/g, "_$1");
    return /[\\{}&]/.test(shown) ? "…" : shown;
  }

  const quote = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    // what only a printed page shows, and the links of the chapter
    page.querySelectorAll("#jb-print-docs-body, .bookrun-take").forEach((element) => element.remove());
    page.querySelectorAll(".math").forEach((formula) => {
      formula.textContent = inWords(formula.textContent);
    });
    return quote(page.documentElement.outerHTML, anchor);
  };
});
