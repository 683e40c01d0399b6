'use strict';
// One chart: curves with bands, stacked areas or a heat map, as SVG that follows the reader's colours and width.

const CHART = { height: 212, left: 46, right: 10, top: 8, bottom: 34, colours: 8, dashes: 5 };

/** Round numbers within [low, high], at most `most` of them. */
function ticks(low, high, most) {
  if (!(high > low)) return [low];
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  for (const step of [1, 2, 5, 10, 20].map((n) => n * power)) {
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
    if (found.length <= most) return found;
  }
  return [];
}

/** Ticks of a logarithmic axis: powers of ten over a wide range, 1-2-5 steps or round numbers over a narrow one. */
function logTicks(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const powers = [];
  for (let n = first; n <= last; n++) powers.push(10 ** n);
  const inside = (values) => values.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  const wide = inside(powers);
  if (wide.length > 2) return wide.filter((_, i) => i % Math.ceil(wide.length / 6) === 0);
  const fine = inside(powers.flatMap((power) => [power, 2 * power, 5 * power]));
  return fine.length > 2 ? fine : ticks(low, high, 4);
}

/** A number at an axis: short, since the margin is. */
function tickText(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? Number(value.toPrecision(3)).toExponential().replace('e+', 'e') : brief(value);
}

/** A scale from values to pixels. */
function scale(low, high, from, to, log) {
  if (log) {
    const a = Math.log10(low), b = Math.log10(high);
    return (value) => from + ((Math.log10(Math.max(value, low)) - a) / (b - a || 1)) * (to - from);
  }
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

/** Extent of all curves. A logarithmic axis leaves out what is not positive. */
function extent(curves, log) {
  let low = Infinity, high = -Infinity;
  for (const curve of curves) {
    for (let i = 0; i < curve.y.length; i++) {
      for (const value of [curve.y[i], curve.low && curve.low[i], curve.high && curve.high[i]]) {
        if (value === null || value === undefined || (log && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
  }
  if (low > high) return log ? [1, 10] : [0, 1];
  if (log) return low === high ? [low / 3, high * 3] : [low / 1.2, high * 1.2];
  if (low === 0 && high === 0) return [0, 1];
  const room = (high - low || Math.abs(high)) * 0.05;
  return [low >= 0 && low < (high - low) ? 0 : low - room, high + room];
}

/** SVG path through the points; a gap where a value is missing, unless the curve is sparse. */
function path(xs, ys, toX, toY, log) {
  let text = '', pen = false;
  for (let i = 0; i < xs.length; i++) {
    if (ys[i] === null || ys[i] === undefined || xs[i] === null || (log && ys[i] <= 0)) { pen = false; continue; }
    text += `${pen ? 'L' : 'M'}${toX(xs[i]).toFixed(1)} ${toY(ys[i]).toFixed(1)}`;
    pen = true;
  }
  return text;
}

/** The closed outline between two curves. */
function outline(xs, low, high, toX, toY) {
  const there = xs.map((x, i) => i).filter((i) => xs[i] !== null && low[i] !== null && high[i] !== null);
  const point = (ys) => (i) => `${toX(xs[i]).toFixed(1)} ${toY(ys[i]).toFixed(1)}`;
  if (!there.length) return '';
  return `M${there.map(point(high)).join('L')}L${there.reverse().map(point(low)).join('L')}Z`;
}

/** Put areas on top of each other over all x that any of them has: y becomes the upper edge, low the lower one. */
function stacked(curves) {
  const xs = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  let top = xs.map(() => 0);
  return curves.map((curve) => {
    const given = new Map(curve.x.map((x, i) => [x, curve.y[i]]));
    const low = top;
    top = xs.map((x, i) => low[i] + (given.get(x) || 0));
    return { ...curve, x: xs, y: top, low, high: top, own: xs.map((x) => given.get(x) ?? null) };
  });
}

/** What a screen reader hears of a chart. */
function summary(title, curves) {
  const said = curves.map((curve) => {
    const ys = (curve.own || curve.y).filter((y) => y !== null && y !== undefined);
    return ys.length ? `${curve.label}: ${brief(ys[0])} at first, ${brief(ys[ys.length - 1])} at last, lowest ${brief(ys.reduce((a, b) => Math.min(a, b)))}, highest ${brief(ys.reduce((a, b) => Math.max(a, b)))}` : '';
  });
  return `${title}. ${said.filter(Boolean).join('. ')}`;
}

/**
 * Draw curves into `host`.
 * spec: title, curves [{label, x, y, low, high, colour, dash}], log, stack, axis (name of the x axis), open (called with the x that is clicked)
 */
function drawCurves(host, spec) {
  const width = Math.max(240, host.clientWidth || 360);
  const curves = spec.stack ? stacked(spec.curves) : spec.curves;
  const allX = curves.flatMap((curve) => curve.x.filter((x) => x !== null));
  const [xLow, xHigh] = allX.length ? [allX.reduce((a, b) => Math.min(a, b)), allX.reduce((a, b) => Math.max(a, b))] : [0, 1];
  const [yLow, yHigh] = extent(curves, spec.log);
  const toX = scale(xLow, xHigh, CHART.left, width - CHART.right);
  const toY = scale(yLow, yHigh, CHART.height - CHART.bottom, CHART.top, spec.log);
  const opens = spec.open ? '. Enter opens the completions of a step' : '';
  const drawing = svg('svg', { viewBox: `0 0 ${width} ${CHART.height}`, role: 'img', tabindex: 0, 'aria-label': summary(spec.title, curves) + opens });
  drawAxes(drawing, spec.log ? logTicks(yLow, yHigh) : ticks(yLow, yHigh, 5), ticks(xLow, xHigh, 6), toX, toY, width, spec.axis);
  for (const curve of curves) {
    const kind = `c${curve.colour % CHART.colours}`;
    if (spec.stack) drawing.append(svg('path', { class: `area ${kind}`, d: outline(curve.x, curve.low, curve.high, toX, toY) }));
    else if (curve.low) drawing.append(svg('path', { class: `band ${kind}`, d: outline(curve.x, curve.low, curve.high, toX, toY) }));
    if (spec.stack) continue;
    drawing.append(svg('path', { class: `curve ${kind} d${curve.dash % CHART.dashes}`, d: path(curve.x, curve.y, toX, toY, spec.log) }));
    if (curve.x.length < 40) {
      curve.x.forEach((x, i) => { if (x !== null && curve.y[i] !== null && !(spec.log && curve.y[i] <= 0)) drawing.append(svg('circle', { class: `dot ${kind}`, cx: toX(x).toFixed(1), cy: toY(curve.y[i]).toFixed(1), r: 2.2 })); });
    }
  }
  host.replaceChildren(drawing);
  addCursor(host, drawing, curves, toX, spec);
}

function drawAxes(drawing, yTicks, xTicks, toX, toY, width, axis) {
  const bottom = CHART.height - CHART.bottom;
  for (const value of yTicks) {
    const y = toY(value).toFixed(1);
    drawing.append(svg('line', { class: 'grid', x1: CHART.left, x2: width - CHART.right, y1: y, y2: y }));
    drawing.append(svg('text', { x: CHART.left - 5, y: Number(y) + 4, 'text-anchor': 'end' }, tickText(value)));
  }
  for (const value of xTicks) {
    drawing.append(svg('text', { x: toX(value).toFixed(1), y: bottom + 14, 'text-anchor': 'middle' }, tickText(value)));
  }
  drawing.append(svg('line', { class: 'axis', x1: CHART.left, x2: width - CHART.right, y1: bottom, y2: bottom }));
  if (axis) drawing.append(svg('text', { x: (CHART.left + width - CHART.right) / 2, y: CHART.height - 3, 'text-anchor': 'middle' }, axis));
}

/** Values under the pointer; with the chart focused, left and right move along. */
function addCursor(host, drawing, curves, toX, spec) {
  const xs = [...new Set(curves.flatMap((curve) => curve.x.filter((x) => x !== null)))].sort((a, b) => a - b);
  if (!xs.length) return;
  const places = curves.map((curve) => new Map(curve.x.map((x, i) => [x, i])));
  const rule = svg('line', { class: 'cursor', y1: CHART.top, y2: CHART.height - CHART.bottom, visibility: 'hidden' });
  const tip = h('div', { class: 'tip', role: 'status', hidden: true });
  drawing.append(rule);
  host.append(tip);
  let at = xs.length - 1;
  const show = (index) => {
    at = Math.max(0, Math.min(xs.length - 1, index));
    const x = toX(xs[at]);
    rule.setAttribute('x1', x); rule.setAttribute('x2', x); rule.setAttribute('visibility', 'visible');
    const lines = curves.map((curve, n) => [curve.label, (curve.own || curve.y)[places[n].get(xs[at])]]);
    tip.textContent = [`${spec.axis || 'x'} ${brief(xs[at])}`, ...lines.filter(([, y]) => y !== undefined && y !== null).map(([label, y]) => `${label}: ${brief(y)}`)].join('\n');
    tip.hidden = false;
    const box = drawing.getBoundingClientRect();
    const left = (x / drawing.viewBox.baseVal.width) * box.width;
    tip.style.left = left > box.width / 2 ? '' : `${left + 20}px`;
    tip.style.right = left > box.width / 2 ? `${box.width - left + 20}px` : '';
  };
  const hide = () => { tip.hidden = true; rule.setAttribute('visibility', 'hidden'); };
  drawing.addEventListener('pointermove', (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
    let best = 0;
    for (let i = 1; i < xs.length; i++) if (Math.abs(toX(xs[i]) - x) < Math.abs(toX(xs[best]) - x)) best = i;
    show(best);
  });
  drawing.addEventListener('pointerleave', hide);
  drawing.addEventListener('blur', hide);
  drawing.addEventListener('focus', () => { if (drawing.matches(':focus-visible')) show(at); });
  if (spec.open) {
    drawing.classList.add('opens');
    drawing.addEventListener('click', () => spec.open(xs[at]));
  }
  drawing.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && spec.open) spec.open(xs[at]);
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (!move) return;
    event.preventDefault();
    show(at + move);
  });
}

/** Draw shares over (step, bin) as a heat map. spec: title, steps, edges, shares [column][bin]. */
function drawHeat(host, spec) {
  const width = Math.max(240, host.clientWidth || 360);
  const last = spec.steps.length - 1, bins = spec.edges.length - 1;
  const toX = (column) => CHART.left + (column / spec.steps.length) * (width - CHART.left - CHART.right);
  const toY = scale(spec.edges[0], spec.edges[bins], CHART.height - CHART.bottom, CHART.top);
  const most = spec.shares.flat().reduce((a, b) => Math.max(a, b), 1e-9);
  const drawing = svg('svg', { viewBox: `0 0 ${width} ${CHART.height}`, role: 'img', 'aria-label': `${spec.title}. Share of rows by advantage, step ${spec.steps[0]} to ${spec.steps[last]}.` });
  drawAxes(drawing, ticks(spec.edges[0], spec.edges[bins], 7), [], toX, toY, width, 'step');
  for (const column of [0, Math.floor(last / 2), last]) {
    drawing.append(svg('text', { x: toX(column + 0.5), y: CHART.height - CHART.bottom + 14, 'text-anchor': 'middle' }, String(spec.steps[column])));
  }
  spec.shares.forEach((shares, column) => shares.forEach((share, bin) => {
    if (!share) return;
    drawing.append(svg('rect', { class: 'cell', x: toX(column).toFixed(1), width: Math.max(1, toX(1) - toX(0)).toFixed(1), y: toY(spec.edges[bin + 1]).toFixed(1), height: (toY(spec.edges[bin]) - toY(spec.edges[bin + 1])).toFixed(1), opacity: (0.08 + 0.92 * Math.sqrt(share / most)).toFixed(2) }));
  }));
  host.replaceChildren(drawing);
}

/** What the colours and dashes stand for. */
function legend(entries, stack) {
  return h('ul', { class: 'legend' }, entries.map((entry) => h('li', {},
    svg('svg', { viewBox: '0 0 26 10', 'aria-hidden': 'true' }, stack
      ? svg('rect', { class: `area c${entry.colour % CHART.colours}`, width: 26, height: 10 })
      : svg('line', { class: `curve c${entry.colour % CHART.colours} d${entry.dash % CHART.dashes}`, x1: 0, x2: 26, y1: 5, y2: 5 })),
    entry.label)));
}
