/* Averaging between two lines, with the angle to choose (Section 2.2, Theorem 3).

   Needs nothing but a browser: it draws into the element #localgd-two-lines.  Each round projects
   on both lines and averages, so that on the bisector the distance shrinks by cos² φ. */
(function (global) {
  "use strict";

  /* Factors of d(x_n, S) in a round, for lines at an angle of 2 phi and kappa = 1 */
  const factors = {
    exact: (phi) => Math.cos(phi) ** 2,
    printed: (phi) => Math.sqrt(1 - Math.sin(2 * phi) / 2),
    corrected: (phi) => Math.cos(phi),
  };

  /* The largest relative difference from rows {phi, exact, printed, corrected} computed elsewhere */
  function disagreement(rows) {
    const off = (row) =>
      Math.max(...Object.keys(factors).map((name) => Math.abs(factors[name](row.phi) / row[name] - 1)));
    return rows.reduce((worst, row) => Math.max(worst, off(row)), 0);
  }

  global.localgdTwoLines = { factors, disagreement };
  if (typeof document === "undefined") return;

  const ROUNDS = 20, DECADES = 3;
  const STYLE = `
    #localgd-two-lines { color: var(--pst-color-text-base, inherit); max-width: 46rem; }
    #localgd-two-lines label { display: block; margin: .3rem 0; }
    #localgd-two-lines input { display: block; width: 100%; height: 1.6rem; margin: 0; accent-color: var(--pst-color-primary, #0072b2); }
    #localgd-two-lines b { font-variant-numeric: tabular-nums; }
    #localgd-two-lines svg { display: block; width: 100%; height: auto; font: 13px sans-serif; touch-action: pan-y; }
    #localgd-two-lines text { fill: currentColor; }
    #localgd-two-lines .axis { stroke: currentColor; opacity: .25; fill: none; }
    #localgd-two-lines .line { stroke: currentColor; stroke-width: 2; cursor: grab; }
    #localgd-two-lines .move { stroke: currentColor; opacity: .55; fill: none; }
    #localgd-two-lines .run { fill: var(--pst-color-primary, #0072b2); }
    #localgd-two-lines .printed { stroke: #d55e00; stroke-width: 2; stroke-dasharray: 7 4; fill: none; }
    #localgd-two-lines .corrected { stroke: currentColor; stroke-width: 2; stroke-dasharray: 2 4; fill: none; }`;

  function start(root) {
    root.innerHTML = `<style>${STYLE}</style><label>2\u03c6, the angle between the two lines: <b></b>
      <input type="range" min="2" max="90" step="0.5" value="40"></label>
      <svg role="img"></svg><p><output></output></p>`;
    const input = root.querySelector("input"), svg = root.querySelector("svg");
    const update = () => {
      const phi = (Number(input.value) * Math.PI) / 360, degrees = `${input.value}\u00b0`;
      input.setAttribute("aria-valuetext", degrees);
      root.querySelector("b").textContent = degrees;
      const [exact, printed, corrected] = Object.values(factors).map((f) => f(phi).toFixed(4));
      const verdict = factors.exact(phi) > factors.printed(phi) ? "which is broken" : "which holds here";
      const text = `A round shrinks the distance by ${exact}. Theorem 3 as printed promises ${printed}, ${verdict}; as corrected ${corrected}.`;
      root.querySelector("output").textContent = text;
      draw(svg, phi, text);
    };
    input.addEventListener("input", update);
    svg.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      const at = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / at.width;
      const x = (event.clientX - at.left) * scale - 20, y = (event.clientY - at.top) * scale - 150;
      if (x <= 0 || x > 290) return;
      input.value = String((Math.atan2(Math.abs(y), x) * 360) / Math.PI);
      update();
    });
    if (global.ResizeObserver) new ResizeObserver(update).observe(root);
    update();
  }

  /* The run in the plane, and its distances against the bounds, side by side or one above the other */
  function draw(svg, phi, text) {
    const wide = (svg.clientWidth || 640) >= 560, width = wide ? 640 : 320;
    svg.setAttribute("viewBox", `0 0 ${width} ${wide ? 300 : 600}`);
    const parts = [`<title>${text}</title>`], c = Math.cos(phi), s = Math.sin(phi);
    const at = (x, y) => `${(20 + 255 * x).toFixed(1)} ${(150 - 255 * y).toFixed(1)}`;
    const reach = Math.min(1.05 / c, 0.55 / s);
    for (const sign of [1, -1]) parts.push(`<path class="line" d="M${at(0, 0)}L${at(reach * c, sign * reach * s)}"/>`);
    for (let n = 0, x = 1; n < 6; n += 1, x *= c * c) {
      for (const sign of [1, -1]) parts.push(`<path class="move" d="M${at(x, 0)}L${at(x * c * c, sign * x * c * s)}L${at(x * c * c, 0)}"/>`);
      parts.push(`<circle class="run" r="4" cx="${at(x, 0).split(" ")[0]}" cy="150"/>`);
    }
    parts.push(`<text x="282" y="154">x\u2080</text><text x="4" y="14">rounds with T = \u221e</text>`);
    const left = wide ? 370 : 44, top = wide ? 26 : 326, w = wide ? 255 : 260, h = 230;
    const px = (n) => left + (w * n) / ROUNDS, py = (d) => top + (h * -Math.log10(d)) / DECADES;
    for (let k = 0; k <= DECADES; k += 1) {
      const y = top + (h * k) / DECADES, mark = ["1", "0.1", "0.01", "0.001"][k];
      parts.push(`<path class="axis" d="M${left} ${y}h${w}"/><text x="${left - 6}" y="${y + 4}" text-anchor="end">${mark}</text>`);
    }
    for (const name of ["printed", "corrected"]) {
      const last = Math.min(ROUNDS, -DECADES / Math.log10(factors[name](phi)));
      parts.push(`<path class="${name}" d="M${px(0)} ${py(1)}L${px(last)} ${py(factors[name](phi) ** last)}"/>`);
    }
    for (let n = 0; n <= ROUNDS; n += 1) {
      const d = factors.exact(phi) ** n;
      if (d >= 10 ** -DECADES) parts.push(`<circle class="run" r="3" cx="${px(n)}" cy="${py(d)}"/>`);
    }
    parts.push(`<text x="${left - 36}" y="${top - 12}">distance (dots), bound as printed (dashes)</text>`);
    parts.push(`<text x="${left + w}" y="${top + h + 28}" text-anchor="end">as corrected (dotted); rounds 0 to ${ROUNDS}</text>`);
    svg.innerHTML = parts.join("");
  }

  const root = document.getElementById("localgd-two-lines");
  const reference = document.getElementById("localgd-two-lines-reference");
  if (root && reference) {
    if (disagreement(JSON.parse(reference.textContent)) < 1e-5) start(root);
    else root.textContent = "The figure disagrees with localgd here and stays off.";
  }
})(typeof window === "undefined" ? globalThis : window);
