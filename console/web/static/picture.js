// The loop over time: three plots on one time axis, read from the server for what is shown, never more than it can show.
"use strict";
(() => {
  const DAY = 86400, PARTS = { quarter: 91 * DAY, month: 30 * DAY };
  const home = document.getElementById("picture");
  if (!home || typeof uPlot === "undefined") return;
  const SIGNS = Object.fromEntries(JSON.parse(home.dataset.signs).map((sign) => [sign.sign, sign]));
  const $ = (name) => document.getElementById("picture-" + name);
  const stage = $("plots"), readout = $("readout"), summary = $("summary"), legend = $("legend"), table = $("table");
  let data = null, shown = null, plots = [], at = null, asked = 0, part = "all";

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const when = (s) => new Date(s * 1000).toISOString().slice(0, 16).replace("T", " ");
  const instant = (s) => new Date(s * 1000).toISOString().replace(".000Z", "Z");
  const figure = (v) => v == null ? "unknown" : Math.abs(v) < 10 ? v.toFixed(3) : Math.abs(v) < 1000 ? v.toFixed(2) : Math.round(v).toLocaleString("en");
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const dates = (_u, splits, _axis, _space, step) => splits.map((s, i) => {
    const on = new Date(s * 1000), before = i ? new Date(splits[i - 1] * 1000) : null;
    const year = !before || before.getUTCFullYear() !== on.getUTCFullYear() ? "\n" + on.getUTCFullYear() : "";
    const day = `${on.getUTCDate()} ${MONTHS[on.getUTCMonth()]}`;
    if (step >= 28 * DAY) return MONTHS[on.getUTCMonth()] + year;
    if (step >= DAY) return day + year;
    return on.toISOString().slice(11, 16) + (!before || before.getUTCDate() !== on.getUTCDate() ? "\n" + day + year.replace("\n", " ") : "");
  });
  const share = (v) => v == null ? "unknown" : Math.round(100 * v) + "%";

  async function load(from, to, keep) {
    const mine = ++asked;
    const query = from == null ? "" : `?from=${Math.floor(from)}&to=${Math.ceil(to)}`;
    stage.setAttribute("aria-busy", "true");
    let answer;
    try {
      answer = await fetch(home.dataset.series + query, { headers: { Accept: "application/json" } });
    } catch {
      answer = null;
    }
    if (mine !== asked) return;
    stage.removeAttribute("aria-busy");
    if (!answer || !answer.ok) {
      summary.textContent = "The chart cannot be loaded. It is tried again at the next tick.";
      return;
    }
    const previous = at != null && data ? data.at[at] : null;
    data = await answer.json();
    if (!data.at.length && data.whole && from != null) return load(null);
    shown = from == null ? padded(data.whole) : [from, to];
    at = data.at.length ? nearest(keep && previous != null ? previous : data.at[data.at.length - 1]) : null;
    draw();
    tell();
  }

  function padded(whole) {
    if (!whole) return [0, 1];
    const room = Math.max(data.tick / 2, (whole[1] - whole[0]) / 100);
    return [whole[0] - room, whole[1] + room];
  }

  function tell() {
    if (!data.at.length) {
      summary.textContent = "Nothing to draw yet: the first point comes with the first tick that scores rows.";
      home.classList.add("empty");
      return;
    }
    home.classList.remove("empty");
    const many = data.per > 1 ? `; ${data.per} ticks per point, zoom in for single ticks` : "";
    summary.textContent = `${data.metric} (${data.higher ? "higher" : "lower"} is better), coverage and drift, ` +
      `${when(data.at[0])} to ${when(data.at[data.at.length - 1])} UTC, ${data.ticks.toLocaleString("en")} ticks${many}.`;
    for (const button of home.querySelectorAll("[aria-pressed]")) {
      button.setAttribute("aria-pressed", String(button.dataset.part === part));
    }
    point(at);
    if (table.open) tabulate();
  }

  const marksOf = (i) => {
    const from = i > 0 ? data.at[i - 1] : -Infinity, last = i === data.at.length - 1;
    return data.marks.filter((m) => m[0] > from && (m[0] <= data.at[i] || last));
  };

  function words(i) {
    const facts = [`${when(data.at[i])} UTC`];
    facts.push(`${data.metric} ${figure(data.realized[i])}` + (data.realized[i] == null ? "" : ` (${data.status[i]}, version ${data.version[i]})`));
    if (data.low[i] != null) facts.push(`${figure(data.low[i])} to ${figure(data.high[i])} once all labels are known`);
    if (data.per > 1 && data.lowest[i] != null) facts.push(`ticks range from ${figure(data.lowest[i])} to ${figure(data.highest[i])}`);
    if (data.estimated[i] != null) {
      const between = data.estimated_low[i] == null ? "" : ` (${figure(data.estimated_low[i])} to ${figure(data.estimated_high[i])})`;
      facts.push(`estimated ${figure(data.estimated[i])}${between}`);
    }
    if (data.first[i] != null) facts.push(`first model ${figure(data.first[i])}`);
    facts.push(`coverage ${share(data.coverage[i])}`, `drift ${share(data.drift[i])}`);
    for (const [, kind, text, count] of marksOf(i)) facts.push(`${SIGNS[kind].label}${count > 1 ? " " + count + " times, last: " : ": "}${text}`);
    return facts;
  }

  function point(i) {
    if (i == null || !data.at.length) return;
    at = i;
    const facts = words(i);
    readout.replaceChildren(...facts.map((text, n) => Object.assign(document.createElement(n ? "span" : "b"), { textContent: text })));
    stage.setAttribute("aria-valuemax", String(data.at.length - 1));
    stage.setAttribute("aria-valuenow", String(i));
    stage.setAttribute("aria-valuetext", facts.join("; "));
  }

  function nearest(seconds) {
    let low = 0, high = data.at.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.at[middle] < seconds) low = middle + 1; else high = middle;
    }
    return low > 0 && seconds - data.at[low - 1] < data.at[low] - seconds ? low - 1 : low;
  }

  const opened = (seconds) => {
    const text = instant(seconds);
    location.href = `${home.dataset.decisions}?at=${encodeURIComponent(text)}#tick-${text}`;
  };

  function draw() {
    for (const plot of plots) plot.destroy();
    plots = [];
    stage.replaceChildren();
    if (!data.at.length) return;
    const look = Object.fromEntries(["ink", "soft", "grid", "line", "card", "loop", "base", "drift", "cover", "cover-early",
      "estimate", "estimate-band", "spread"].map((n) => [n, color(n)]));
    for (const [kind, sign] of Object.entries(SIGNS)) look[kind] = color(sign.colour);
    plots = [metricPlot(look), lanePlot(look), sharePlot(look, "coverage"), sharePlot(look, "drift")].filter(Boolean);
    explain(look);
  }

  function base(look, height, more) {
    const axis = { stroke: look.soft, grid: { stroke: look.grid, width: 1 }, ticks: { show: false }, font: `12px ${color("font")}`, size: 72, gap: 6 };
    return {
      width: stage.clientWidth, height, tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
      legend: { show: false }, padding: [8, 8, more.dates ? 0 : 8, 0],
      cursor: { sync: { key: "loop" }, drag: { x: true, y: false, setScale: false }, points: { show: false } },
      scales: { x: { time: true, range: () => shown } },
      axes: [{ ...axis, size: 40, space: 74, show: !!more.dates, values: dates }, { ...axis, ...more.axis }],
      hooks: {
        setCursor: [(u) => { if (u.cursor.idx != null && u.cursor.event) point(u.cursor.idx); }],
        setSelect: [(u) => {
          if (u.select.width < 6) return;
          const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          zoom(from, to);
        }],
        ready: [(u) => {
          let down = null;
          u.over.addEventListener("mousedown", (e) => { down = e.clientX; });
          u.over.addEventListener("click", (e) => {
            if (down != null && Math.abs(e.clientX - down) < 4) more.click ? more.click(u) : opened(data.at[u.cursor.idx ?? at]);
          });
        }],
        ...more.hooks,
      },
      ...more.extra,
    };
  }

  function titled(text) {
    const title = document.createElement("p");
    title.className = "plot-title";
    title.textContent = text;
    stage.append(title);
  }

  function metricPlot(look) {
    titled(data.metric);
    const some = data.at.filter((x) => x >= shown[0] && x <= shown[1]).length;
    const values = [...data.realized, ...data.first, ...data.estimated].filter((v) => v != null);
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1);
    const reach = (list, pick) => list.filter((v) => v != null).reduce((a, v) => pick(a, v), pick === Math.min ? low : high);
    const bottom = Math.max(low - 0.7 * room, Math.min(...["lowest", "low", "estimated_low"].map((n) => reach(data[n], Math.min))));
    const top = Math.min(high + 0.7 * room, Math.max(...["highest", "high", "estimated_high"].map((n) => reach(data[n], Math.max))));
    const none = { points: { show: false }, stroke: "transparent", width: 0 };
    const options = base(look, 300, {
      dates: false,
      axis: { values: (u, splits) => splits.map((v) => String(+v.toPrecision(4))) },
      extra: {
        series: [{}, none, none, none, none,
          { stroke: look.estimate, width: 1.5, dash: [5, 4], points: { show: false } },
          { stroke: look.base, width: 1.75, points: { show: false } },
          { stroke: look.loop, width: 2.25, points: { show: false } }],
        bands: [{ series: [2, 1], fill: look["estimate-band"] }, { series: [4, 3], fill: look.spread }],
      },
    });
    options.scales.y = { range: () => [bottom - 0.06 * room, top + 0.06 * room] };
    options.hooks.draw = [(u) => bounds(u, look, some), (u) => dots(u, look, some)];
    options.hooks.drawClear = [(u) => lines(u, look)];
    const many = data.per > 1 ? [data.lowest, data.highest] : [data.realized, data.realized];
    return new uPlot(options, [data.at, data.estimated_low, data.estimated_high, ...many, data.estimated, data.first, data.realized], stage);
  }

  const clip = (u, work) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    work(ctx);
    ctx.restore();
  };

  // What outstanding labels can make of a metric: a whisker on every provisional point.
  function bounds(u, look, some) {
    clip(u, (ctx) => {
      ctx.strokeStyle = look.loop;
      ctx.globalAlpha = some > 200 ? 0.2 : 0.45;
      ctx.lineWidth = devicePixelRatio * (some > 200 ? 1 : 2);
      data.low.forEach((v, i) => {
        if (v == null) return;
        const x = u.valToPos(data.at[i], "x", true);
        ctx.beginPath();
        ctx.moveTo(x, u.valToPos(v, "y", true));
        ctx.lineTo(x, u.valToPos(data.high[i], "y", true));
        ctx.stroke();
      });
    });
  }

  // A point that is final is filled; one that is provisional is hollow.
  function dots(u, look, some) {
    if (some > 160) return;
    clip(u, (ctx) => {
      ctx.lineWidth = 1.75 * devicePixelRatio;
      ctx.strokeStyle = look.loop;
      data.realized.forEach((v, i) => {
        if (v == null) return;
        ctx.fillStyle = data.status[i] === "final" ? look.loop : look.card;
        ctx.beginPath();
        ctx.arc(u.valToPos(data.at[i], "x", true), u.valToPos(v, "y", true), 3.2 * devicePixelRatio, 0, 2 * Math.PI);
        ctx.fill();
        ctx.stroke();
      });
    });
  }

  function lines(u, look) {
    clip(u, (ctx) => {
      ctx.lineWidth = devicePixelRatio;
      ctx.globalAlpha = 0.4;
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      for (const [seconds, kind] of data.marks) {
        if (kind === "step") continue;
        ctx.strokeStyle = look[kind];
        const x = u.valToPos(seconds, "x", true);
        ctx.beginPath();
        ctx.moveTo(x, u.bbox.top);
        ctx.lineTo(x, u.bbox.top + u.bbox.height);
        ctx.stroke();
      }
    });
  }

  const lanes = () => Object.keys(SIGNS).filter((kind) => data.marks.some((m) => m[1] === kind));

  function lanePlot(look) {
    const kinds = lanes();
    if (!kinds.length) return null;
    titled("What the loop did");
    const nearestMark = (u) => {
      const spot = (m) => Math.hypot(u.valToPos(m[0], "x") - u.cursor.left, u.valToPos(kinds.indexOf(m[1]), "y") - u.cursor.top);
      return data.marks.reduce((best, m) => (spot(m) < spot(best) ? m : best));
    };
    const options = base(look, 24 * kinds.length + 12, {
      axis: { splits: () => kinds.map((_, i) => i), values: () => kinds.map((kind) => SIGNS[kind].label), },
      click: (u) => opened(nearestMark(u)[0]),
      extra: { series: [{}, { show: true, stroke: "transparent", points: { show: false } }] },
    });
    options.axes[1].font = `11px ${color("font")}`;
    options.scales.y = { range: () => [-0.6, kinds.length - 0.4], dir: -1 };
    options.hooks.draw = [(u) => clip(u, (ctx) => {
      for (const [seconds, kind, , count] of data.marks) {
        shape(ctx, SIGNS[kind].symbol, u.valToPos(seconds, "x", true), u.valToPos(kinds.indexOf(kind), "y", true), look[kind], count > 1 ? 1.25 : 1);
      }
    })];
    return new uPlot(options, [data.at, data.at.map(() => null)], stage);
  }

  function shape(ctx, form, x, y, fill, scale) {
    const r = 5.5 * devicePixelRatio * scale;
    const polygon = (...corners) => {
      ctx.beginPath();
      corners.forEach(([dx, dy]) => ctx.lineTo(x + dx * r, y + dy * r));
      ctx.closePath();
      ctx.fill();
    };
    ctx.fillStyle = ctx.strokeStyle = fill;
    if (form === "diamond") return polygon([0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]);
    if (form === "triangle-up") return polygon([0, -1.1], [1.15, 0.9], [-1.15, 0.9]);
    if (form === "triangle-down") return polygon([0, 1.1], [1.15, -0.9], [-1.15, -0.9]);
    ctx.beginPath();
    if (form === "x") {
      ctx.lineWidth = 2.4 * devicePixelRatio;
      ctx.moveTo(x - 0.8 * r, y - 0.8 * r); ctx.lineTo(x + 0.8 * r, y + 0.8 * r);
      ctx.moveTo(x + 0.8 * r, y - 0.8 * r); ctx.lineTo(x - 0.8 * r, y + 0.8 * r);
      return ctx.stroke();
    }
    ctx.arc(x, y, form === "circle-dot" ? 0.6 * r : r, 0, 2 * Math.PI);
    return ctx.fill();
  }

  function sharePlot(look, name) {
    const drift = name === "drift";
    titled(drift ? `Drift: share of columns that drifted; limit ${share(data.limit)}` : "Coverage: share of rows with a label");
    const bars = uPlot.paths.bars({ size: [0.8, 14], align: 0 });
    const series = drift
      ? { stroke: look.drift, width: 1.75, points: { show: data.at.length < 160, size: 5, fill: look.drift } }
      : { stroke: "transparent", fill: look.cover, width: 0, paths: bars, points: { show: false } };
    const early = { stroke: "transparent", fill: look["cover-early"], width: 0, paths: bars, points: { show: false } };
    const whole = data.coverage.map((v, i) => (data.status[i] === "final" ? v : null));
    const partly = data.coverage.map((v, i) => (data.status[i] === "final" ? null : v));
    const options = base(look, drift ? 112 : 84, {
      dates: drift,
      axis: { splits: () => [0, 0.5, 1], values: () => ["0%", "50%", "100%"] },
      extra: { series: drift ? [{}, series] : [{}, series, early] },
    });
    options.scales.y = { range: () => [0, 1.05] };
    if (drift) {
      options.hooks.draw = [(u) => clip(u, (ctx) => {
        const y = u.valToPos(data.limit, "y", true);
        ctx.strokeStyle = look.soft;
        ctx.lineWidth = devicePixelRatio;
        ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(u.bbox.left, y);
        ctx.lineTo(u.bbox.left + u.bbox.width, y);
        ctx.stroke();
      })];
    }
    return new uPlot(options, drift ? [data.at, data.drift] : [data.at, whole, partly], stage);
  }

  function explain(look) {
    const entries = [["line", look.loop, "realized; hollow while provisional, with the range it can still reach"]];
    if (data.per > 1) entries.push(["band", look.loop, "lowest to highest tick"]);
    if (data.estimated.some((v) => v != null)) entries.push(["dash", look.estimate, "estimated before labels arrive, with its interval"]);
    if (data.first.some((v) => v != null)) entries.push(["line", look.base, "first model, never replaced"]);
    for (const kind of lanes()) entries.push([SIGNS[kind].symbol, look[kind], SIGNS[kind].label]);
    legend.replaceChildren(...entries.map(([form, fill, text]) => {
      const item = document.createElement("li"), canvas = document.createElement("canvas"), ctx = canvas.getContext("2d");
      canvas.width = 22 * devicePixelRatio; canvas.height = 14 * devicePixelRatio;
      canvas.setAttribute("aria-hidden", "true");
      const [x, y] = [canvas.width / 2, canvas.height / 2];
      ctx.fillStyle = ctx.strokeStyle = fill;
      ctx.lineWidth = 2.25 * devicePixelRatio;
      if (form === "band") { ctx.globalAlpha = 0.25; ctx.fillRect(0, 0.2 * canvas.height, canvas.width, 0.6 * canvas.height); }
      else if (form === "line" || form === "dash") {
        if (form === "dash") ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath(); ctx.moveTo(0, y); ctx.lineTo(canvas.width, y); ctx.stroke();
      } else shape(ctx, form, x, y, fill, 1);
      item.append(canvas, text);
      return item;
    }));
  }

  function tabulate() {
    const heads = ["Tick (UTC)", data.metric, "Status", "Bounds", "Estimated", "Coverage", "Drift", "Version", "What the loop did"];
    const made = document.createElement("table"), caption = made.createCaption();
    caption.textContent = summary.textContent;
    const head = made.createTHead().insertRow();
    for (const text of heads) head.append(Object.assign(document.createElement("th"), { textContent: text, scope: "col" }));
    const body = made.createTBody();
    for (let i = data.at.length - 1; i >= 0; i--) {
      const row = body.insertRow(), text = instant(data.at[i]);
      const link = Object.assign(document.createElement("a"), { textContent: when(data.at[i]), href: `${home.dataset.decisions}?at=${encodeURIComponent(text)}#tick-${text}` });
      row.insertCell().append(link);
      const between = (low, high) => (low == null ? "–" : `${figure(low)} to ${figure(high)}`);
      const cells = [figure(data.realized[i]), data.status[i] ?? "–", between(data.low[i], data.high[i]),
        data.estimated[i] == null ? "–" : `${figure(data.estimated[i])} (${between(data.estimated_low[i], data.estimated_high[i])})`,
        share(data.coverage[i]), share(data.drift[i]), data.version[i] ?? "–", marksOf(i).map(([, kind, what]) => `${SIGNS[kind].label}: ${what}`).join(". ") || "–"];
      for (const cell of cells) row.insertCell().textContent = cell;
    }
    table.querySelector(".sheet").replaceChildren(made);
  }

  function zoom(from, to, named) {
    const [first, last] = padded(data.whole), least = 4 * data.tick;
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    if (from <= first && to >= last) { part = "all"; return load(null, null, true); }
    part = named || "own";
    return load(Math.max(first, from), Math.min(last, to), true);
  }

  function go(what) {
    if (!data || !data.whole) return;
    const last = padded(data.whole)[1], wide = shown[1] - shown[0];
    const middle = at == null ? (shown[0] + shown[1]) / 2 : Math.min(Math.max(data.at[at], shown[0] + wide / 4), shown[1] - wide / 4);
    if (what === "all") { part = "all"; load(null, null, true); }
    else if (what === "in") zoom(middle - wide / 4, middle + wide / 4);
    else if (what === "out") zoom(middle - wide, middle + wide);
    else zoom(last - PARTS[what], last, what);
  }

  home.addEventListener("click", (e) => { const button = e.target.closest("[data-part]"); if (button) go(button.dataset.part); });
  table.addEventListener("toggle", () => { if (table.open && data) tabulate(); });
  stage.addEventListener("keydown", (e) => {
    if (!data || !data.at.length || e.ctrlKey || e.metaKey || e.altKey) return;
    const last = data.at.length - 1, many = Math.max(1, Math.round(last / 20));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - many, PageUp: at + many, Home: 0, End: last }[e.key];
    if (to != null) {
      point(Math.min(last, Math.max(0, to)));
      for (const plot of plots) plot.setCursor({ left: plot.valToPos(data.at[at], "x"), top: plot.cursor.top < 0 ? 10 : plot.cursor.top }, false);
    } else if (e.key === "+" || e.key === "=") go("in");
    else if (e.key === "-") go("out");
    else if (e.key === "0") go("all");
    else if (e.key === "Enter") opened(data.at[at]);
    else return;
    e.preventDefault();
  });
  let resizing = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => plots.forEach((plot) => plot.setSize({ width: stage.clientWidth, height: plot.height })));
  }).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data) draw(); });
  let tick = document.querySelector("[data-tick]")?.dataset.tick;
  document.body.addEventListener("htmx:afterSwap", () => {
    const now = document.querySelector("[data-tick]")?.dataset.tick;
    if (now === tick) return;
    tick = now;
    part === "all" ? load(null, null, true) : load(shown[0], shown[1], true);
  });
  load(null);
})();
