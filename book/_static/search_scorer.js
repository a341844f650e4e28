/* How search results are ordered: a page whose title says what was typed comes first, then one
   whose title has its words. Sphinx puts this before its own script, on some pages twice. */
var Scorer = (() => {
  const typed = (new URLSearchParams(location.search).get("q") || "").toLowerCase().trim();
  const words = typed.split(/\s+/).filter(Boolean);

  function ofTitle(title) {
    const said = title.toLowerCase();
    if (typed && said.includes(typed)) return 100;
    return words.length ? (20 * words.filter((word) => said.includes(word)).length) / words.length : 0;
  }

  return {
    score: ([docname, title, , , score]) =>
      score + ofTitle(title) - (docname === "intro" ? 10 : 0), // the first page names everything
    objNameMatch: 11,
    objPartialMatch: 6,
    objPrio: { 0: 15, 1: 5, 2: -5 },
    objPrioDefault: 0,
    title: 15,
    partialTitle: 7,
    term: 5,
    partialTerm: 2,
  };
})();
