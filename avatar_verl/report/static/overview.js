'use strict';
// How each run stands, what looks wrong, what could not be used, and what its configuration changed.

const GLANCE = ['Reward', 'Accuracy', 'Groups without a signal'];
const LEVELS = { warning: 'Warning', note: 'Note', good: 'Good' };

function showOverview(section, runs) {
  const wanted = figures.charts.filter((chart) => GLANCE.includes(chart.title));
  const glance = wanted.length ? wanted : figures.charts.slice(0, 3);
  section.replaceChildren(...[
    h('h1', { id: 'overview-title' }, runs.length > 1 ? `${runs.length} runs side by side` : runs[0].name),
    h('div', { class: 'runs' }, runs.map((run) => runCard(run, runs.length > 1))),
    runs.length > 1 ? [h('h2', {}, 'At the end of each run'), lastValues(runs)] : [],
    runs.some((run) => run.fresh.at(-1)) ? whyLink() : [],
    glance.length ? [h('h2', {}, 'At a glance'), h('div', { class: 'charts' }, glance.map(chartFigure))] : [],
    runs.map((run) => badRows(run, runs.length > 1)),
  ].flat(2));
  observe(section);
}

function whyLink() {
  return h('p', {}, 'Why did a completion get its advantage? ', h('a', { href: '#completions?split=train&kind=mixed' }, 'Groups whose rewards differ'), ' show it: reward parts with reasons, the sum of each advantage, and every token. A click on a chart opens the completions of that step.');
}

function runCard(run, named) {
  return h('div', { class: 'run' },
    named ? h('h2', {}, run.name) : [],
    h('dl', { class: 'facts' }, run.facts.map(([name, value]) => [h('dt', {}, name), h('dd', { class: 'num' }, value)])),
    h('ul', { class: 'findings' }, run.findings.map((finding) => h('li', { class: finding.level }, h('span', { class: 'level' }, `${LEVELS[finding.level]}: `), finding.text))));
}

/** Last values of what matters, one column a run; behind a later run its difference to the first. */
function lastValues(runs) {
  const names = [['held-out accuracy', 'avatar/val/accuracy'], ['held-out reward', 'avatar/val/reward'], ['training reward', 'avatar/train/reward'], ['training accuracy', 'avatar/train/accuracy'], ['entropy', 'actor/entropy'], ['completion length', 'avatar/train/num_tokens'], ['seconds a step', 'perf/time_per_step']];
  const last = (run, key) => { const values = (valuesOf(run, key) || []).filter((value) => value !== null); return values.length ? values[values.length - 1] : null; };
  const rows = names.map(([name, key]) => {
    const first = last(runs[0], key);
    return [name, ...runs.map((run, number) => {
      const value = last(run, key);
      if (value === null) return '';
      return number && first !== null ? `${brief(value)} (${signed(value - first)})` : brief(value);
    })];
  });
  const generated = ['completions generated', ...runs.map((run) => brief(run.fresh[run.fresh.length - 1] || 0))];
  return table(['last value', ...runs.map((run) => run.name)], [...rows.filter((row) => row.slice(1).some(Boolean)), generated], 'Last values of each run');
}

function badRows(run, named) {
  if (!run.bad_rows.length) return [];
  return [h('h2', {}, `Bad rows${named ? ` of ${run.name}` : ''}`), h('p', { class: 'soft' }, 'Rows that could not be used. Nothing else was trained on in their place.'),
    table(['reason', 'rows', 'for example'], run.bad_rows.map((entry) => [entry.reason, entry.count, h('ul', {}, entry.examples.map(([id, detail]) => h('li', {}, `${id}: ${detail}`)))]), 'Bad rows by reason')];
}

function showConfiguration(section, runs, differences) {
  const between = runs.length < 2 ? [] : [h('h2', {}, 'Between the runs'),
    differences.length ? table(['key', ...runs.map((run) => run.name)], differences, 'Keys that differ between the runs') : h('p', {}, 'All keys are the same.')];
  section.replaceChildren(h('h1', { id: 'configuration-title' }, 'Configuration'), ...between, ...runs.flatMap((run) => [
    runs.length > 1 ? h('h2', {}, run.name) : '',
    h('p', { class: 'soft' }, run.changes.against ? `What differs from ${run.changes.against}.` : 'This run has no preset.'),
    run.changes.rows.length ? table(['key', 'there', 'in this run'], run.changes.rows, `Configuration of ${run.name}`) : h('p', {}, 'Nothing differs.'),
  ]));
}
