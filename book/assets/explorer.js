/* The cost of a run against the number of local steps, with sliders (Section 4).

   Needs nothing but a browser: it draws into the element #localgd-explorer. The numbers come from
   optimalStepsLinear and optimalStepsPower, which solve in logarithms as localgd.tradeoff does. */
(function (global) {
  "use strict";

  /* sum_{k>=2} 2 c_k w^(k-2)/k!, where c_k = 1 + s + ... + s^(k-2); s = 0 leaves e^w - 1 - w */
  function series(w, s) {
    let total = 1, power = 1, coefficient = 1, factorial = 1;
    for (let k = 3; k < 33; k += 1) {
      power *= w;
      factorial *= k;
      coefficient = coefficient * s * w + power;
      total += coefficient / factorial;
    }
    return total;
  }

  /* log(e^u - 1 - u) */
  function logExpRemainder(u) {
    if (u < 1) return 2 * Math.log(u) - Math.LN2 + Math.log(series(u, 0));
    return u + Math.log1p(-(1 + u) * Math.exp(-u));
  }

  /* log((y^beta - 1 - beta (y - 1))/(beta - 1)) at y = e^w */
  function logPowerRemainder(w, beta) {
    if (beta * w < 1) return Math.log(beta / 2) + 2 * Math.log(w) + Math.log(series(w, beta));
    const gamma = beta - 1;
    const rest = -Math.expm1(-gamma * w) + gamma * Math.expm1(-w) * Math.exp(-gamma * w);
    return beta * w - Math.log(gamma) + Math.log(rest);
  }

  /* w > 0 with f(w) = target for an increasing f, by bisection in log w */
  function solve(f, target) {
    let low = -400, high = 400;
    for (let i = 0; i < 120; i += 1) {
      const middle = (low + high) / 2;
      if (f(Math.exp(middle)) < target) low = middle;
      else high = middle;
    }
    return Math.exp((low + high) / 2);
  }

  /* argmin over T > 0 of (1 + rT)/(1 - beta^T) */
  function optimalStepsLinear(beta, r) {
    const b = -Math.log(beta);
    return solve(logExpRemainder, Math.log(b) - Math.log(r)) / b;
  }

  /* argmin over T > 0 of (1 + rT)/(1 - (1 + aT)^(1 - beta)) */
  function optimalStepsPower(a, beta, r) {
    const w = solve((v) => logPowerRemainder(v, beta), Math.log(a) - Math.log(r));
    return Math.expm1(w) / a;
  }

  /* -log of the factor by which a round shrinks the distance, one eta lambda for all: rho = 1 - sigma (1 - q^T) */
  const decrease = (T, p) => -Math.log1p(p.sigma * Math.expm1(T * Math.log1p(-p.soft)));

  /* argmin over T >= 1 of (1 + rT)/decrease(T), which falls and then rises, by golden section in log T */
  function optimalStepsExact(p) {
    const J = (v) => (1 + p.r * Math.exp(v)) / decrease(Math.exp(v), p), golden = (Math.sqrt(5) - 1) / 2;
    let low = 0, high = 23;
    while (high - low > 1e-9) {
      const left = high - golden * (high - low), right = low + golden * (high - low);
      if (J(left) < J(right)) high = right;
      else low = left;
    }
    return Math.exp((low + high) / 2);
  }

  /* What a round of T steps is worth, up to a factor */
  const worth = {
    linear: (T, p) => -Math.expm1(T * Math.log(p.beta)),
    power: (T, p) => -Math.expm1((1 - p.gamma) * Math.log1p(p.a * T)),
    exact: decrease,
  };
  const cost = (kind, T, p) => (1 + p.r * T) / worth[kind](T, p);
  const optimum = (kind, p) =>
    kind === "exact" ? optimalStepsExact(p)
      : kind === "linear" ? optimalStepsLinear(p.beta, p.r) : optimalStepsPower(p.a, p.gamma, p.r);

  /* The largest relative difference from rows {kind, beta, a, r, steps} computed elsewhere; of kind
     "exact", beta is 1 - eta mu and a is sigma */
  function disagreement(rows) {
    const off = (row) => {
      const p = { r: row.r, beta: row.beta, gamma: row.beta, a: row.a, soft: 1 - row.beta, sigma: row.a };
      return Math.abs(optimum(row.kind, p) / row.steps - 1);
    };
    return rows.reduce((worst, row) => Math.max(worst, off(row)), 0);
  }

  global.localgdExplorer = { optimalStepsLinear, optimalStepsPower, optimalStepsExact, cost, disagreement };
  if (typeof document === "undefined") return;

  const MINUS = "\u2212";
  const shown = (x) => Number(x.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
  const raised = (n) =>
    String(n).replace("-", MINUS).replace(/./g, (c) => "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["0123456789".indexOf(c)] || "\u207b");
  const ten = (x) => `${shown(Number((x / 10 ** Math.floor(Math.log10(x))).toPrecision(2)))}\u00b710${raised(Math.floor(Math.log10(x)))}`;
  const small = (x) => (x >= 0.01 && x < 1e4 ? shown(x) : ten(x));
  const SLIDERS = [
    { id: "r", kinds: "linear power exact", from: -6, to: 0, start: -3, value: (s) => 10 ** s, show: small,
      name: "r, cost of a local step in units of a round\u2019s communication" },
    { id: "beta", kinds: "linear", from: 0.1, to: 3, start: 1, value: (s) => 1 - 10 ** -s,
      show: (x) => x.toFixed(x < 0.9 ? 2 : 4), name: "\u03b2, factor of the decay h(t) = \u03b2<sup>t</sup>" },
    { id: "a", kinds: "power", from: -2, to: 1, start: 0, value: (s) => 10 ** s, show: small,
      name: "a, speed of the decay h(t) = (1 + at)<sup>\u2212\u03b2</sup>" },
    { id: "gamma", kinds: "power", from: 1.1, to: 4, start: 1.5, value: (s) => s,
      show: (x) => x.toFixed(2), name: "\u03b2, its exponent" },
    { id: "soft", kinds: "exact", from: -5, to: -0.1, start: -2, value: (s) => 10 ** s, show: small,
      name: "\u03b7\u03bc, step size times the least curvature" },
    { id: "sigma", kinds: "exact", from: -3, to: -0.01, start: -1, value: (s) => 10 ** s, show: small,
      name: "\u03c3, how well the optimal sets are separated" },
  ];
  const STYLE = `
    #localgd-explorer { color: var(--pst-color-text-base, inherit); max-width: 46rem; }
    #localgd-explorer fieldset { border: 0; padding: 0; margin: 0 0 .4rem; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
    #localgd-explorer label { display: block; margin: .3rem 0; }
    #localgd-explorer label[hidden] { display: none; }
    #localgd-explorer input[type=range] { display: block; width: 100%; height: 1.6rem; margin: 0; accent-color: var(--pst-color-primary, #0072b2); }
    #localgd-explorer input[type=number] { width: 6.5em; }
    #localgd-explorer legend { font-size: 1em; float: left; margin: .3rem .6rem .3rem 0; width: auto; }
    #localgd-explorer b { font-variant-numeric: tabular-nums; }
    #localgd-explorer svg { display: block; width: 100%; height: auto; font: 13px sans-serif; }
    #localgd-explorer text { fill: currentColor; }
    #localgd-explorer .axis { stroke: currentColor; opacity: .25; fill: none; }
    #localgd-explorer .curve { stroke: currentColor; stroke-width: 2; fill: none; }
    #localgd-explorer .best { stroke: var(--pst-color-primary, #0072b2); fill: var(--pst-color-primary, #0072b2); stroke-width: 2; }`;
  const X_MAX = 6, Y_MIN = -3, Y_MAX = 1; // decades of T and of the cost

  function start(root) {
    const rows = SLIDERS.map(
      (s) => `<label data-kinds="${s.kinds}">${s.name}: <b></b><input type="range" name="${s.id}"
        min="${s.from}" max="${s.to}" step="0.01" value="${s.start}"></label>`);
    root.innerHTML = `<style>${STYLE}</style><fieldset><legend class="visually-hidden">Local decay</legend>
      <label><input type="radio" name="kind" value="linear" checked> geometric decay</label>
      <label><input type="radio" name="kind" value="power"> power-law decay</label>
      <label><input type="radio" name="kind" value="exact"> quadratic losses, exactly</label></fieldset>
      <fieldset><legend>Measured? Seconds of</legend>
      <label>a local step <input type="number" name="step" min="0" step="any"></label>
      <label>a communication <input type="number" name="message" min="0" step="any"></label></fieldset>
      ${rows.join("")}<svg role="img"></svg><p><output></output></p>`;
    const state = () => {
      const p = {};
      for (const s of SLIDERS) p[s.id] = s.value(Number(root.querySelector(`[name=${s.id}]`).value));
      const kind = root.querySelector("[name=kind]:checked").value;
      if (kind === "exact") p.beta = 1 - p.soft;
      p.bound = kind === "exact" ? Math.max(1, optimalStepsLinear(p.beta, p.r)) : 0;
      return [kind, p];
    };
    const update = () => {
      const [kind, p] = state();
      for (const s of SLIDERS) {
        const input = root.querySelector(`[name=${s.id}]`);
        input.parentElement.hidden = !s.kinds.includes(kind);
        input.setAttribute("aria-valuetext", s.show(p[s.id]));
        input.parentElement.querySelector("b").textContent = s.show(p[s.id]);
      }
      const best = optimum(kind, p), taken = Math.max(best, 1);
      const saved = cost(kind, 1, p) / cost(kind, taken, p);
      const text = kind === "exact"
        ? `The cost is least at T = ${shown(best)}; T* of the bound, for \u03b2 = 1 \u2212 \u03b7\u03bc = ${p.beta.toPrecision(4)}, is ${shown(p.bound)} and costs ${(cost(kind, p.bound, p) / cost(kind, best, p)).toFixed(3)} times as much.`
        : best < 1
        ? `T* = ${small(best)}, less than one step: take one local step a round.`
        : `T* = ${shown(best)} local steps a round; the bound is ${shown(saved)} times lower than with one.`;
      root.querySelector("output").textContent = text;
      draw(root.querySelector("svg"), kind, p, taken, text);
    };
    root.addEventListener("input", (event) => {
      const [step, message] = ["step", "message"].map((name) => Number(root.querySelector(`[name=${name}]`).value));
      if (event.target.type === "number" && step > 0 && message > 0) root.querySelector("[name=r]").value = Math.log10(step / message);
      update();
    });
    if (global.ResizeObserver) new ResizeObserver(update).observe(root);
    update();
  }

  function draw(svg, kind, p, best, text) {
    const width = Math.max(280, svg.clientWidth || 640), height = Math.min(340, 0.75 * width);
    const left = 44, right = 12, top = 26, bottom = 42;
    const px = (T) => left + ((width - left - right) * Math.log10(T)) / X_MAX;
    const py = (c) => top + ((height - top - bottom) * (Y_MAX - Math.log10(c))) / (Y_MAX - Y_MIN);
    const at = (T) => cost(kind, T, p) / cost(kind, 1, p);
    const parts = [`<title>${text}</title>`];
    for (let d = 0; d <= X_MAX; d += 1) {
      const x = px(10 ** d);
      parts.push(`<path class="axis" d="M${x} ${top}V${height - bottom}"/>`);
      parts.push(`<text x="${x}" y="${height - bottom + 16}" text-anchor="middle">10${raised(d)}</text>`);
    }
    for (let d = Y_MIN; d <= Y_MAX; d += 1) {
      const y = py(10 ** d);
      parts.push(`<path class="axis" d="M${left} ${y}H${width - right}"/>`);
      parts.push(`<text x="${left - 6}" y="${y + 4}" text-anchor="end">10${raised(d)}</text>`);
    }
    const points = [];
    for (let i = 0; i <= 240; i += 1) {
      const T = 10 ** ((X_MAX * i) / 240), c = at(T);
      if (c <= 10 ** Y_MAX) points.push(`${px(T).toFixed(1)} ${py(c).toFixed(1)}`);
    }
    parts.push(`<path class="curve" d="M${points.join("L")}"/>`);
    const x = px(best), y = py(at(best));
    parts.push(`<path class="best" stroke-dasharray="4 4" d="M${x} ${y}V${height - bottom}"/>`);
    parts.push(`<circle class="best" cx="${x}" cy="${y}" r="5"/>`);
    parts.push(`<text x="${x}" y="${y - 10}" text-anchor="${x < width / 2 ? "start" : "middle"}">${p.bound ? "least" : "T*"} ≈ ${shown(best)}</text>`);
    if (p.bound) parts.push(`<path class="curve" stroke-dasharray="2 5" d="M${px(p.bound)} ${top}V${height - bottom}"/><text x="${px(p.bound) + 5}" y="${top + 12}">T*</text>`);
    parts.push(`<text x="${width - right}" y="${height - 6}" text-anchor="end">local steps a round, T</text>`);
    parts.push(`<text x="4" y="14">${p.bound ? "cost" : "bound of the cost"}, relative to T = 1</text>`);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = parts.join("");
  }

  const root = document.getElementById("localgd-explorer");
  const reference = document.getElementById("localgd-explorer-reference");
  if (root && reference) {
    global.localgdExplorer.reference = JSON.parse(reference.textContent);
    if (disagreement(global.localgdExplorer.reference) < 1e-6) start(root);
    else root.textContent = "The explorer disagrees with localgd here and stays off.";
  }
})(typeof window === "undefined" ? globalThis : window);
