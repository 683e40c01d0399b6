'use strict';
// The viewer: groups on the left; prompt, clip, completions side by side and the prompt's history on the right.

const viewer = { runs: [], portable: false, loaded: new Map(), limit: 0, form: null, list: null, detail: null };
const PAGE = 60;
const NARROW = '(max-width: 46rem)';
const COLOURINGS = [['advantage', 'advantage of each token'], ['gap', 'rollout against trainer'], ['log_prob', 'log-prob of each token'], ['none', 'think and answer only']];
//: What the colours of each colouring say: [class of the swatch, words].
const SWATCHES = { advantage: [['p', 'made more likely'], ['m', 'made less likely']], gap: [['g', 'log-probs differ']], log_prob: [['g', 'unlikely']], none: [] };
//: Why a visit got its prompt's hint, see avatar.hint.
const HINTS = { always: 'every visit is', zero_streak: 'visit after visit earned nothing', stuck: 'little reward and little change of the policy' };
//: Place of each quantity in a record's trace, which is [texts, advantages, log-probs, gaps].
const TRACE = { advantage: 1, log_prob: 2, gap: 3 };

function loadRun(number) {
  if (!viewer.loaded.has(number)) viewer.loaded.set(number, unpack(readBlock(`completions-${number}`)));
  return viewer.loaded.get(number);
}

function settings() {
  return place.read().settings;
}

function change(changes) {
  place.set('completions', changes);
}

function showCompletions(section, runs) {
  viewer.runs = runs;
  if (!runs.some((_, number) => loadRun(number).groups.length)) {
    section.replaceChildren(h('h1', { id: 'completions-title' }, 'Completions'), h('p', {}, runs.some((run) => run.method.estimator) ? 'There are none yet.' : 'There are none: supervised training generates nothing.'));
    viewer.followAddress = () => {};
    return;
  }
  viewer.list = h('div', { class: 'list' });
  viewer.detail = h('div', { id: 'group' });
  viewer.form = h('form', { class: 'controls', 'aria-label': 'Filters', onsubmit: (event) => event.preventDefault() });
  const filters = h('details', { open: !window.matchMedia(NARROW).matches }, h('summary', {}, 'Filters'), viewer.form);
  section.replaceChildren(h('h1', { id: 'completions-title' }, 'Completions'), filters, h('div', { class: 'viewer' }, viewer.list, viewer.detail));
  viewer.followAddress();
}

function runNumber() {
  const number = Number(settings().get('run')) || 0;
  return number < viewer.runs.length ? number : 0;
}

/** The form of filters; each writes its value into the address and lists again. */
function fillFilters() {
  const run = loadRun(runNumber());
  const now = settings();
  const apply = (name) => (value) => { viewer.limit = PAGE; change({ [name]: value, group: '' }); listGroups(); };
  const pick = (name, label, options) => field(label, choice(options, now.get(name) || '', apply(name)));
  const number = (name, label) => field(label, h('input', { type: 'number', step: 'any', value: now.get(name) || '', oninput: (event) => apply(name)(event.target.value) }));
  const runs = viewer.runs.length < 2 ? [] : field('run', choice(viewer.runs.map((one, at) => [at, one.name]), runNumber(), (value) => { location.hash = `#completions?run=${value}`; }));
  viewer.form.replaceChildren(...[
    runs,
    field('find in prompt, clip or text', h('input', { type: 'search', value: now.get('find') || '', oninput: (event) => apply('find')(event.target.value) })),
    pick('split', 'split', [['', 'all'], ['train', 'training'], ['val', 'held-out'], ['replay', 'replay batches']]),
    pick('kind', 'groups', KINDS),
    pick('tier', 'tier', [['', 'all'], ['easy', 'easy'], ['medium', 'medium'], ['hard', 'hard']]),
    pick('reason', 'reward reason', [['', 'all'], ...run.reasons.map((reason) => [reason, reason])]),
    number('first', 'from step'), number('last', 'to step'), number('low', 'reward from'), number('high', 'reward to'),
    pick('order', 'order', ORDERS),
    h('button', { type: 'button', onclick: () => { location.hash = `#completions?run=${runNumber()}`; } }, 'Clear'),
  ].flat());
}

/** The list of groups that pass the filters, a page of them at a time. */
function listGroups() {
  const run = loadRun(runNumber());
  const groups = filterGroups(run.groups, settings());
  const rows = groups.reduce((sum, group) => sum + group.rows.length, 0);
  const left = run.all > run.shown ? ` The page holds ${run.shown.toLocaleString('en')} of the run's ${run.all.toLocaleString('en')}; write it with --completions for more.` : '';
  viewer.groups = groups;
  viewer.list.replaceChildren(
    h('p', { class: 'note', role: 'status' }, `${plural(groups.length, 'group')}, ${plural(rows, 'completion')}.${left}`),
    h('ul', { class: 'groups', 'aria-label': 'Groups of completions' }, groups.slice(0, viewer.limit).map(groupButton)));
  if (groups.length > viewer.limit) viewer.list.append(h('button', { type: 'button', onclick: () => { viewer.limit += PAGE; listGroups(); } }, 'Show more'));
  markCurrent();
}

function groupButton(group) {
  const title = group.split === 'replay' ? 'replayed completions' : group.prompt.prompt_id;
  const kinds = [group.split === 'val' && 'held-out', group.flat && 'all equal', group.hint && 'hinted', group.replayed && group.split !== 'replay' && 'with replay', group.tier].filter(Boolean);
  return h('li', {}, h('button', { type: 'button', 'data-group': group.number, onclick: () => openGroup(group.number, true) },
    `step ${group.step}: reward ${brief(group.mean)}${group.failed ? `, ${group.failed} of ${group.rows.length} failed` : ''}`,
    h('span', { class: 'soft' }, [title, ...kinds].join(' \u00b7 '))));
}

function markCurrent() {
  const now = settings().get('group');
  for (const button of viewer.list.querySelectorAll('[data-group]')) {
    if (button.dataset.group === now) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
  }
}

/** Show what the address names: filters, list and group. */
viewer.followAddress = () => {
  viewer.limit = PAGE;
  fillFilters();
  listGroups();
  const wanted = settings().get('group');
  const first = viewer.groups[0];
  if (wanted !== null && loadRun(runNumber()).byNumber.has(Number(wanted))) openGroup(Number(wanted), false);
  else if (first) openGroup(first.number, false);
  else viewer.detail.replaceChildren();
};

function openGroup(number, chosen) {
  const run = loadRun(runNumber());
  const group = run.byNumber.get(number);
  change({ group: number });
  markCurrent();
  viewer.detail.replaceChildren(...groupView(run, group));
  if (!chosen) return;
  const heading = viewer.detail.querySelector('h2');
  heading.focus({ preventScroll: true });
  if (window.matchMedia(NARROW).matches) heading.scrollIntoView();
}

/** Everything about one group. */
function groupView(run, group) {
  const method = viewer.runs[runNumber()].method;
  const colouring = settings().get('colour') || 'advantage';
  const cards = h('div', { class: 'cards' });
  const swatches = h('span', { class: 'swatches' });
  const drawCards = (kind) => {
    cards.replaceChildren(...group.rows.map((row, at) => completionCard(row, at, group, method, kind)));
    swatches.replaceChildren(...(SWATCHES[kind] || []).map(([tone, words]) => h('span', {}, h('i', { class: tone }), words)));
  };
  drawCards(colouring);
  const colours = group.rows.some((row) => row.trace) ? h('div', { class: 'controls' },
    field('colour by', choice(COLOURINGS, colouring, (value) => { change({ colour: value }); drawCards(value); })), swatches) : [];
  const title = group.prompt ? group.prompt.question || group.prompt.prompt_id : `Replayed at step ${group.step}`;
  return [
    h('h2', { tabindex: -1, dir: 'auto' }, title), stepButtons(group),
    group.prompt ? promptView(group) : h('p', {}, whyReplay(group, method)),
    group.split === 'train' ? h('p', {}, whyGroup(group, method)) : [],
    colours, cards, group.prompt ? history_(run, group) : [],
  ].flat();
}

function stepButtons(group) {
  const at = viewer.groups.indexOf(group);
  const go = (offset, text) => {
    const other = viewer.groups[at + offset];
    return h('button', { type: 'button', disabled: !other || at < 0, onclick: () => openGroup(other.number, true) }, text);
  };
  return h('div', { class: 'controls' }, go(-1, 'Previous group'), go(1, 'Next group'));
}

/** Question, options, truth, hint, tier, and the clip beside them. */
function promptView(group) {
  const { prompt } = group;
  const facts = [
    ['prompt', prompt.prompt_id], ['step', `${group.step}, ${group.split === 'val' ? 'held-out' : 'training'}`], ['right answer', rightAnswer(prompt)],
    ['type', [prompt.problem_type, prompt.family, prompt.difficulty, prompt.modality].filter(Boolean).join(', ')],
    ['reference score', scoreWords(group)], ['tier', tierWords(group)], ['hint', group.hint ? `given: ${HINTS[group.hint] || group.hint}` : ''], ['sound in words', prompt.cues],
  ].filter(([, value]) => value);
  const options = prompt.options && prompt.options.length ? h('ol', { type: 'A' }, prompt.options.map((option) => h('li', { dir: 'auto' }, option))) : [];
  return h('div', { class: 'prompt' }, h('div', {}, options, h('dl', { class: 'facts' }, facts.map(([name, value]) => [h('dt', {}, name), h('dd', { dir: 'auto' }, value)]))), clips(prompt));
}

/** A letter with the option that it stands for. */
function rightAnswer(prompt) {
  const at = /^[A-Z]$/.test(prompt.ground_truth) ? prompt.ground_truth.charCodeAt(0) - 65 : -1;
  const option = (prompt.options || [])[at];
  return option === undefined || option.startsWith(prompt.ground_truth) ? prompt.ground_truth : `${prompt.ground_truth}, ${option}`;
}

/** How well this prompt does of late: what its replayed completions are compared with, and what its tier comes from. */
function scoreWords(group) {
  if (group.score === null || group.score === undefined) return '';
  return `${brief(group.score)} after this visit, the mean of its last ${viewer.runs[runNumber()].method.window} fresh rewards`;
}

/** The tier, and between which reference scores it lies at that step. */
function tierWords(group) {
  const run = viewer.runs[runNumber()];
  const [hard, medium] = ['hard', 'medium'].map((name) => (valuesOf(run, `avatar/vcrs/threshold/${name}`) || [])[run.steps.indexOf(group.step)]);
  if (!group.tier || hard === undefined || hard === null) return group.tier;
  return `${group.tier}; at step ${group.step} a reference score up to ${brief(hard)} is hard, up to ${brief(medium)} medium`;
}

function clips(prompt) {
  return h('div', { class: 'clips' }, (prompt.media || []).map((item) => h('figure', {}, clip(item), h('figcaption', {}, item.name))));
}

function clip(item) {
  if (!item.url) return h('p', { class: 'soft' }, viewer.portable ? 'This page holds some clips only, and this is none of them.' : 'The file is not there.');
  if (item.kind === 'image') return h('img', { src: item.url, alt: `The prompt's image ${item.name}`, loading: 'lazy' });
  return h(item.kind, { src: item.url, controls: true, preload: 'metadata', loop: true, 'aria-label': `The prompt's ${item.kind} ${item.name}` });
}

/** The sentence that says how a fresh group's advantages come about. */
function whyGroup(group, method) {
  const rows = method.scope === 'prompt' ? group.rows : group.fresh;
  const rewards = rows.map((row) => row.reward);
  if (rewards.length < 2) return 'A group of one: its advantage is its reward.';
  const spread = deviation(rewards);
  if (spread < 1e-6) return `All ${rewards.length} rewards are ${brief(rewards[0])}. Nothing is better than the rest, so all advantages are 0.`;
  return `Mean reward ${brief(mean(rewards))}, standard deviation ${brief(spread)} over ${rewards.length} completions. Advantage = (reward \u2212 mean)${method.by_std ? ' / deviation' : ''}${shapingWords(method)}`;
}

/** The sentence for completions that replay drew into one step. */
function whyReplay(group, method) {
  const rewards = group.rows.map((row) => row.reward);
  const spread = rewards.length > 1 ? deviation(rewards) : 0;
  const divisor = spread > 1e-6 ? ` / deviation of these ${rewards.length} rewards, ${brief(spread)}` : '';
  return `Completions of earlier steps, drawn from the buffer. Each is compared with the reference score of its prompt, the moving mean of that prompt\u2019s fresh rewards. Advantage = ${brief(method.alpha)} \u00d7 (reward \u2212 reference score)${divisor}${shapingWords(method)}`;
}

function shapingWords(method) {
  const { strength, shape } = method.shaping;
  return strength && method.estimator === 'avatar' ? `; temporal shaping (${shape}) then weighs tokens from 1 to ${brief(1 + strength)}.` : '.';
}

/** How the reward is made of its parts. */
function whyReward(row, method) {
  const terms = row.parts.filter((part) => part.value !== null && method.weights[part.name]).map((part) => `${brief(method.weights[part.name])} \u00d7 ${part.name} ${brief(part.value)}`);
  const absent = row.parts.some((part) => part.value === null && method.weights[part.name]) ? ', absent parts as in the group' : '';
  return terms.length ? `reward: ${terms.join(' + ')}${absent} = ${brief(row.reward)}` : '';
}

/** The arithmetic of one completion's advantage, as the trainer did it. */
function whyRow(row, group, method) {
  if (row.advantage === null || row.advantage === undefined) return group.split === 'val' ? '' : 'The advantage was not logged.';
  if (row.replayed && method.scope !== 'prompt') {
    const rewards = group.rows.map((other) => other.reward);
    const spread = rewards.length > 1 ? deviation(rewards) : 0;
    const divisor = spread > 1e-6 ? ` / ${brief(spread)}` : '';
    return `advantage: ${brief(method.alpha)} \u00d7 (${brief(row.reward)} \u2212 reference score ${brief(row.replayed.reference)})${divisor} = ${signed(row.advantage)}`;
  }
  const rows = method.scope === 'prompt' ? group.rows : group.fresh;
  const rewards = rows.map((other) => other.reward);
  const spread = rewards.length > 1 ? deviation(rewards) : 1;
  if (rewards.length > 1 && spread < 1e-6) return 'Equal rewards: advantage 0.';
  const scale = row.replayed ? `${brief(method.alpha)} \u00d7 ` : '';
  return `advantage: ${scale}(${brief(row.reward)} \u2212 ${brief(rewards.length > 1 ? mean(rewards) : 0)})${method.by_std ? ` / ${brief(spread)}` : ''} = ${signed(row.advantage)}`;
}

/** What shaping made of it, token by token. */
function whyTokens(row) {
  if (!row.trace || !row.advantage) return '';
  const [low, high] = row.trace[TRACE.advantage].reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  return high - low > 1e-3 ? `its tokens: ${signed(row.advantage > 0 ? low : high)} to ${signed(row.advantage > 0 ? high : low)}, by their place` : `its tokens: ${signed(low)} each`;
}

/** One completion: numbers, reasons, text with colours, tokens as a table. */
function completionCard(row, at, group, method, colouring) {
  const from = row.replayed ? `replayed, ${plural(row.replayed.age, 'step')} old, tier ${row.replayed.tier}` : `completion ${at + 1}`;
  return h('article', { class: 'card', 'aria-label': from },
    h('h3', {}, from, h('span', { class: 'num' }, `reward ${brief(row.reward)}`), group.split === 'val' ? [] : h('span', { class: 'num' }, `advantage ${signed(row.advantage)}`)),
    row.replayed ? h('p', { class: 'soft', dir: 'auto' }, row.prompt.question || row.prompt.prompt_id, ' ', originButton(row, group)) : [],
    h('p', {}, row.parts.map((part) => partChip(part, method)), row.cut ? h('span', { class: 'chip bad' }, 'cut at the length limit') : [], row.replayed && row.replayed.hint_used ? h('span', { class: 'chip' }, 'had a hint') : []),
    h('p', { class: 'soft num' }, [whyReward(row, method), whyRow(row, group, method), whyTokens(row)].filter(Boolean).map((line) => [line, h('br')])),
    h('div', { class: 'text', tabindex: 0, role: 'group', 'aria-label': `Text of ${from}`, dir: 'auto' }, row.trace && colouring !== 'none' ? tokenText(row, colouring) : plainText(row.text)),
    row.trace ? traceNotes(row) : [],
    row.tokens ? h('p', { class: 'soft' }, `${plural(row.tokens, 'token')}, mean log-prob ${brief(row.logProb)}`) : []);
}

/** Opens the group that a replayed completion was generated in, where the page has it. */
function originButton(row, group) {
  const step = group.step - row.replayed.age;
  const origin = (loadRun(runNumber()).visits.get(row.promptNumber) || []).find((visit) => visit.split === 'train' && visit.step === step);
  return origin ? h('button', { type: 'button', onclick: () => openGroup(origin.number, true) }, `generated at step ${step}`) : `generated at step ${step}`;
}

/** A reward part with its reason; a weight of 0 logs it without counting it. */
function partChip(part, method) {
  const tone = part.value === null ? '' : part.value > 0 ? 'good' : 'bad';
  const free = method.weights[part.name] === 0 ? ', not counted' : '';
  return h('span', { class: `chip ${tone}` }, `${part.name} ${part.value === null ? 'absent' : brief(part.value)}${part.reason ? `: ${part.reason}` : ''}${free}`);
}

/** Pieces of a completion: [kind, text]; the kind is think, answer or empty, and tags belong to what they enclose. */
function pieces(text) {
  const found = [];
  let kind = '';
  for (const piece of text.split(/(<\/?(?:think|reasoning|perception|answer)>)/)) {
    const tag = /^<(\/?)(\w+)>$/.exec(piece);
    if (tag && !tag[1]) kind = tag[2] === 'answer' ? 'answer' : 'think';
    if (piece) found.push([kind, piece, Boolean(tag)]);
    if (tag && tag[1]) kind = '';
  }
  return found;
}

/** Spans in blocks of one kind each. spans: [kind, element] */
function regions(spans) {
  const found = [];
  for (const [kind, span] of spans) {
    if (!found.length || found[found.length - 1].kind !== kind) found.push({ kind, children: [] });
    found[found.length - 1].children.push(span);
  }
  return found.map(({ kind, children }) => (kind ? h('div', { class: kind }, children) : children));
}

function plainText(text) {
  return regions(pieces(text).map(([kind, piece, tag]) => [kind, h('span', { class: tag ? 'tag' : undefined }, piece)]));
}

/** Each token as a span: its place in think or answer, and its value as colour. */
function tokenText(row, colouring) {
  const [texts] = row.trace, values = row.trace[TRACE[colouring]];
  const kinds = pieces(texts.join('')).flatMap(([kind, piece]) => new Array(piece.length).fill(kind));
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  let at = 0;
  const spans = texts.map((text, i) => {
    const span = h('span', { class: tokenClass(values[i], row.trace[TRACE.gap][i], colouring, Boolean(row.replayed)), title: tokenTitle(row.trace, i) }, text);
    const strength = colouring === 'gap' ? Math.min(1, Math.abs(values[i]) / (10 * FAR)) : Math.abs(values[i]) / most;
    span.style.setProperty('--a', (0.38 * strength).toFixed(2));
    const kind = kinds[at] || '';
    at += text.length;
    return [kind, span];
  });
  return h('div', { class: 'tokens' }, regions(spans));
}

function tokenClass(value, gap, colouring, replayed) {
  const tone = colouring === 'advantage' ? (value >= 0 ? 'plus' : 'minus') : 'gap';
  return [value ? tone : '', !replayed && Math.abs(gap) > FAR ? 'far' : ''].filter(Boolean).join(' ') || undefined;
}

function tokenTitle(trace, i) {
  return `advantage ${signed(trace[1][i])}, log-prob ${brief(trace[2][i])}, trainer \u2212 rollout ${brief(trace[3][i])}`;
}

/** Where rollout and trainer disagree most, and all tokens as a table. */
function traceNotes(row) {
  const [texts, advantages, logProbs, gaps] = row.trace;
  const worst = gaps.map((gap, i) => [Math.abs(gap), i]).sort((a, b) => b[0] - a[0]);
  const far = worst.filter(([gap]) => gap > FAR);
  const names = row.replayed ? 'Present policy and the one that generated' : 'Rollout and trainer';
  const marks = far.slice(0, 3).map(([gap, i], n) => [n ? ', ' : '', h('mark', {}, JSON.stringify(texts[i])), ` ${brief(gap)}`]);
  const said = far.length
    ? [`${names} differ by more than ${FAR} nats at ${plural(far.length, 'token')}, most at `, marks]
    : `${names} agree on every token (largest difference ${brief(worst[0] ? worst[0][0] : 0)} nats).`;
  const details = h('details', { ontoggle: () => {
    if (details.open && !details.querySelector('table')) details.append(table(['#', 'token', 'advantage', 'log-prob', row.replayed ? 'now \u2212 then' : 'trainer \u2212 rollout'], texts.map((text, i) => [i, text, advantages[i], logProbs[i], gaps[i]]), 'Tokens of the completion'));
  } }, h('summary', {}, `${plural(texts.length, 'token')} with their numbers`));
  return [h('p', { class: 'soft' }, said), details];
}

/** Every visit of the prompt: when, how it went, and whether replay brought it back. */
function history_(run, group) {
  const visits = run.visits.get(group.promptNumber) || [];
  if (visits.length < 2) return [h('h2', {}, 'History of this prompt'), h('p', { class: 'soft' }, 'No other visit is on this page.')];
  const rows = visits.map((visit) => {
    const own = visit.rows.filter((row) => row.promptNumber === group.promptNumber);
    const advantages = own.map((row) => row.advantage).filter((value) => value !== null && value !== undefined);
    const kind = visit.split === 'replay' ? 'replayed' : visit.split === 'val' ? 'held-out' : visit.hint ? 'hinted' : 'training';
    return [visit === group ? h('strong', {}, `step ${visit.step}`) : h('button', { type: 'button', onclick: () => openGroup(visit.number, true) }, `step ${visit.step}`),
      kind, own.length, mean(own.map((row) => row.reward)), own.filter(failed).length, visit.score ?? null, advantages.map(signed).join(', ')];
  });
  const trained = visits.filter((visit) => visit.split !== 'replay');
  const plot = h('div', { class: 'plot' });
  const figure = h('figure', {}, h('figcaption', {}, h('h3', {}, 'Reward of this prompt over its visits')), plot);
  requestAnimationFrame(() => drawCurves(plot, { title: 'Reward of this prompt over its visits', axis: 'step', curves: [{ label: 'mean reward', x: trained.map((visit) => visit.step), y: trained.map((visit) => visit.mean), colour: 0, dash: 0 }] }));
  return [h('h2', {}, 'History of this prompt'), trained.length > 1 ? figure : [], h('div', { class: 'whole' }, table(['visit', 'kind', 'completions', 'mean reward', 'failed', 'reference score after it', 'advantages'], rows, 'Visits of this prompt'))];
}
