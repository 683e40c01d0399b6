'use strict';
// The charts of the page: one run with a colour a curve, or several with a colour a run and a dash a curve.

const figures = { runs: [], charts: [], absent: [], hidden: new Set(), axis: 'step', smooth: 1, drawn: new Map() };

const AXES = { step: 'step', fresh: 'completions generated', hours: 'hours' };

/** Values of a series over all steps; a sparse one is stored with its places. */
function valuesOf(run, key) {
  const stored = run.series[key];
  if (stored === undefined) return null;
  if (Array.isArray(stored)) return stored;
  const values = new Array(run.steps.length).fill(null);
  stored.at.forEach((at, i) => { values[at] = stored.v[i]; });
  return values;
}

function axisOf(run) {
  return figures.axis === 'fresh' ? run.fresh : figures.axis === 'hours' ? run.hours : run.steps;
}

/** Mean over the last `figures.smooth` values that are there. */
function smoothed(values) {
  if (figures.smooth <= 1) return values;
  const recent = [];
  return values.map((value) => {
    if (value === null) return null;
    recent.push(value);
    if (recent.length > figures.smooth) recent.shift();
    return recent.reduce((a, b) => a + b) / recent.length;
  });
}

/** Only the points that are there, so that the curve of a sparse series is not cut into dots. */
function dense(x, y, width) {
  const there = y.map((_, i) => i).filter((i) => y[i] !== null && x[i] !== null);
  const own = there.map((i) => y[i]);
  const spread = width && there.map((i) => width[i] || 0);
  return {
    x: there.map((i) => x[i]), y: own,
    low: spread && own.map((value, i) => value - spread[i]), high: spread && own.map((value, i) => value + spread[i]),
  };
}

/** The curves of a chart for the runs that are shown. */
function curvesOf(chart) {
  const several = figures.runs.length > 1;
  const found = [];
  figures.runs.forEach((run, number) => {
    if (figures.hidden.has(number)) return;
    chart.lines.forEach((line, dash) => {
      const values = valuesOf(run, line.key);
      if (!values) return;
      const spread = line.spread && figures.smooth <= 1 ? valuesOf(run, line.spread) : null;
      found.push({
        ...dense(axisOf(run), smoothed(values), spread),
        label: several ? `${run.name}, ${line.label}` : line.label,
        colour: several ? number : dash, dash: several ? dash : Math.floor(dash / CHART.colours),
      });
    });
  });
  return found;
}

/** A figure that draws itself when it comes into view, and again when a setting changes. */
function chartFigure(chart) {
  const host = h('div', { class: 'plot' });
  const below = h('div');
  const values = h('details', { ontoggle: () => { if (values.open) fillTable(values, chart); } }, h('summary', {}, 'Values as a table'));
  const figure = h('figure', {}, h('figcaption', {}, h('h3', {}, chart.title), h('p', { class: 'note' }, chart.note)), host, below, values);
  figures.drawn.set(figure, () => {
    const curves = curvesOf(chart);
    const stack = chart.kind === 'stack' && figures.runs.length === 1;
    drawCurves(host, { title: chart.title, curves, log: chart.log, stack, axis: AXES[figures.axis], open: opener() });
    below.replaceChildren(legend(curves, stack));
    if (values.open) fillTable(values, chart);
  });
  return figure;
}

/** What a click on a chart over steps does: the completions of that step, of the first run that is shown. */
function opener() {
  const run = figures.runs.findIndex((one, number) => !figures.hidden.has(number) && one.fresh.at(-1));
  if (figures.axis !== 'step' || run < 0) return undefined;
  return (step) => { location.hash = `#completions?run=${run}&first=${step}&last=${step}`; };
}

function fillTable(details, chart) {
  const curves = curvesOf(chart);
  const xs = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  const places = curves.map((curve) => new Map(curve.x.map((x, i) => [x, curve.y[i]])));
  const rows = xs.map((x) => [x, ...places.map((known) => known.get(x) ?? null)]);
  const made = table([AXES[figures.axis], ...curves.map((curve) => curve.label)], rows, `Values of ${chart.title}`);
  details.replaceChildren(details.firstElementChild, made);
}

/** Histograms of advantages and the curve of shaping: figures whose form is their own. */
function specialFigures() {
  const found = [];
  figures.runs.forEach((run) => {
    const of = figures.runs.length > 1 ? ` (${run.name})` : '';
    for (const [name, histogram] of Object.entries(run.histograms)) {
      if (!histogram) continue;
      const host = h('div', { class: 'plot' });
      const title = `Advantages of ${name} rows over time${of}`;
      const figure = h('figure', {}, h('figcaption', {}, h('h3', {}, title), h('p', { class: 'note' }, 'Before shaping. Darker: more of the rows of the step.')), host);
      figures.drawn.set(figure, () => drawHeat(host, { title, ...histogram }));
      found.push(figure);
    }
    if (run.shaping) found.push(shapingFigure(run, of));
  });
  return found;
}

function shapingFigure(run, of) {
  const host = h('div', { class: 'plot' });
  const title = `Temporal shaping: weight of a token${of}`;
  const { places, configured, measured } = run.shaping;
  const curves = [{ label: 'configured', x: places, y: configured, colour: 0, dash: 0 }];
  if (measured.some((value) => value !== null)) curves.push({ label: 'measured', ...dense(places, measured), colour: 1, dash: 1 });
  const figure = h('figure', {}, h('figcaption', {}, h('h3', {}, title), h('p', { class: 'note' }, 'By the place of the token in its completion: 0 first, 1 last.')), host, legend(curves, false));
  figures.drawn.set(figure, () => drawCurves(host, { title, curves, axis: 'place' }));
  return figure;
}

function redraw() {
  for (const [figure, draw] of figures.drawn) if (figure.dataset.seen) draw();
}

/** Draw what comes near the window; drawing all at once would keep a phone busy. */
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting || entry.target.dataset.seen) continue;
    entry.target.dataset.seen = '1';
    figures.drawn.get(entry.target)();
  }
}, { rootMargin: '400px' });

function observe(root) {
  for (const figure of root.querySelectorAll('figure')) if (figures.drawn.has(figure)) watcher.observe(figure);
}

let lastWidth = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth === lastWidth) return;
  lastWidth = document.body.clientWidth;
  redraw();
}).observe(document.body);

/** Axis, smoothing and which runs are shown. */
function chartControls() {
  const axis = choice(Object.entries(AXES), figures.axis, (value) => { figures.axis = value; place.set('charts', { axis: value }); redraw(); });
  const smooth = choice([[1, 'none'], [5, '5 steps'], [20, '20 steps'], [50, '50 steps']], figures.smooth, (value) => { figures.smooth = Number(value); place.set('charts', { smooth: value }); redraw(); });
  const runs = figures.runs.length < 2 ? [] : figures.runs.map((run, number) => field(run.name, h('input', {
    type: 'checkbox', checked: !figures.hidden.has(number),
    onchange: (event) => {
      if (event.target.checked) figures.hidden.delete(number); else figures.hidden.add(number);
      place.set('charts', { hide: [...figures.hidden].join() });
      redraw();
    },
  })));
  return h('div', { class: 'controls' }, field('x axis', axis), field('mean over', smooth), runs);
}

/** A chart of many curves would be unreadable with several runs: each curve gets a chart of its own then. */
function readable(chart) {
  if (figures.runs.length < 2 || chart.lines.length <= CHART.dashes) return [chart];
  return chart.lines.map((line) => ({ ...chart, title: `${chart.title}: ${line.label}`, lines: [line] }));
}

function showCharts(section) {
  const { settings } = place.read();
  figures.axis = settings.get('axis') in AXES ? settings.get('axis') : 'step';
  figures.smooth = Number(settings.get('smooth')) || 1;
  figures.hidden = new Set((settings.get('hide') || '').split(',').filter(Boolean).map(Number));
  const names = [...new Set(figures.charts.map((chart) => chart.section))];
  section.replaceChildren(h('h1', { id: 'charts-title' }, 'Charts'), chartControls(), opener() ? h('p', { class: 'note' }, 'A click on a step of a chart, or Enter, opens its completions.') : '', ...names.flatMap((name) => {
    const special = name === 'Advantage' ? specialFigures() : [];
    return [h('h2', {}, name), h('div', { class: 'charts' }, figures.charts.filter((chart) => chart.section === name).flatMap(readable).map(chartFigure), special)];
  }), figures.absent.length ? h('p', { class: 'note' }, `Nothing was recorded for: ${figures.absent.join(', ')}.`) : '');
  observe(section);
}

/** Any series by name. */
function showNumbers(section) {
  const keys = [...new Set(figures.runs.flatMap((run) => Object.keys(run.series)))].sort();
  const found = h('div', { class: 'charts' });
  const count = h('p', { class: 'note', role: 'status' });
  const search = h('input', { type: 'search', value: place.read().settings.get('find') || '', oninput: () => list() });
  const list = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = keys.filter((key) => words.every((word) => key.toLowerCase().includes(word)));
    place.set('numbers', { find: search.value });
    count.textContent = `${chosen.length} series${chosen.length > 60 ? ', the first 60 are shown' : ''}`;
    found.replaceChildren(...chosen.slice(0, 60).map((key) => chartFigure({ title: key, note: '', kind: 'line', log: false, lines: [{ key, label: key, spread: '' }] })));
    observe(found);
  };
  section.replaceChildren(h('h1', { id: 'numbers-title' }, 'Numbers'), h('p', { class: 'soft' }, 'Every series of metrics.jsonl.'),
    h('div', { class: 'controls' }, field('find, e.g. "val motion"', search)), h('h2', {}, 'Series'), count, found);
  list();
}
