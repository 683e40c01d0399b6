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

/** Load the page again while its run goes on, unless the reader plays a clip or writes into a field. */
function keepUp(seconds) {
  const scroll = sessionStorage.getItem('avatar-scroll');
  if (scroll) window.scrollTo(0, Number(scroll));
  sessionStorage.removeItem('avatar-scroll');
  setInterval(() => {
    const playing = [...document.querySelectorAll('video, audio')].some((clip) => !clip.paused);
    const writing = document.activeElement && document.activeElement.matches('input, select, textarea');
    if (playing || writing || document.hidden || document.getElementById('pause').checked) return;
    sessionStorage.setItem('avatar-scroll', String(window.scrollY));
    location.reload();
  }, seconds * 1000);
}

document.getElementById('made').append(`made ${data.made}`);
if (data.refresh) document.getElementById('made').append(' ', h('label', {}, h('input', { type: 'checkbox', id: 'pause' }), ' pause updates'));
window.addEventListener('hashchange', route);
route();
if (data.refresh) keepUp(data.refresh);
document.documentElement.dataset.ready = '1';
