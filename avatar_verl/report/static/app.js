'use strict';
// Which part of the page is shown, and how a page of a running run keeps up with it.

const data = readBlock('data');
figures.runs = data.runs;
figures.charts = data.charts;
figures.absent = data.absent;
viewer.portable = data.portable;

const PARTS = {
  overview: (section) => showOverview(section, data.runs),
  charts: showCharts,
  completions: (section) => showCompletions(section, data.runs),
  numbers: showNumbers,
  configuration: (section) => showConfiguration(section, data.runs, data.differences),
};
const built = new Set();
const QUIET_MS = 3000; // so long nothing was touched before the page loads itself again

/** Show the part that the address names. It is built the first time. */
function route() {
  const named = place.read().part;
  const part = named in PARTS ? named : 'overview';
  for (const name of Object.keys(PARTS)) document.getElementById(`part-${name}`).hidden = name !== part;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${part}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (!built.has(part)) {
    built.add(part);
    PARTS[part](document.getElementById(`part-${part}`));
  } else if (part === 'completions') {
    viewer.followAddress();
  }
}

/** Load the page again while its run goes on, but not under a reader's hands: a clip that plays, a key, a click, a field. */
function keepUp(seconds) {
  let touched = -Infinity;
  for (const kind of ['keydown', 'pointerdown', 'wheel', 'touchmove']) {
    window.addEventListener(kind, () => { touched = performance.now(); }, { passive: true });
  }
  setInterval(() => {
    const playing = [...document.querySelectorAll('video, audio')].some((clip) => !clip.paused);
    const writing = document.activeElement && document.activeElement.matches('input:not([type=checkbox])');
    const busy = performance.now() - touched < QUIET_MS;
    if (playing || writing || busy || document.hidden || document.getElementById('pause').checked) return;
    sessionStorage.setItem('avatar-place', JSON.stringify({ page: window.scrollY, list: viewer.list ? viewer.list.scrollTop : 0, limit: viewer.limit }));
    location.reload();
  }, seconds * 1000);
}

/** Back to where the reader was before the page loaded itself again. The address has the rest. */
function goBack() {
  const kept = JSON.parse(sessionStorage.getItem('avatar-place') || 'null');
  sessionStorage.removeItem('avatar-place');
  if (!kept) return;
  if (viewer.list && kept.limit > viewer.limit) {
    viewer.limit = kept.limit;
    listGroups();
  }
  if (viewer.list) viewer.list.scrollTop = kept.list;
  window.scrollTo({ top: kept.page, behavior: 'instant' });
}

document.getElementById('made').append(`made ${data.made}`);
if (data.refresh) document.getElementById('made').append(' ', h('label', {}, h('input', { type: 'checkbox', id: 'pause' }), ' pause updates'));
window.addEventListener('hashchange', route);
route();
goBack();
if (data.refresh) keepUp(data.refresh);
document.documentElement.dataset.ready = '1';
