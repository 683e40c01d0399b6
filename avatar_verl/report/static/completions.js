'use strict';
// The completions of one run: columns of the page's JSON as records, and the filters over their groups.

//: Nats by which a fresh token's log-prob must differ between rollout and trainer to count as a difference.
const FAR = 0.01;

/** Records of a block written by report/completions.py. */
function unpack(stored) {
  const { rows, texts, prompts } = stored;
  const parts = Object.keys(rows.parts);
  const records = rows.text.map((text, i) => ({
    number: i, group: rows.group[i], prompt: prompts[rows.prompt[i]], promptNumber: rows.prompt[i], text: texts[text], reward: rows.reward[i],
    advantage: rows.advantage[i], tokens: rows.tokens[i], logProb: rows.log_prob[i], cut: Boolean(rows.cut[i]), answer: rows.answer[i],
    replayed: rows.replayed[i], trace: rows.trace[i],
    parts: parts.filter((name) => rows.parts[name][i] !== null || rows.reasons[name].at[i] >= 0).map((name) => ({
      name, value: rows.parts[name][i], reason: rows.reasons[name].at[i] < 0 ? '' : rows.reasons[name].names[rows.reasons[name].at[i]],
    })),
  }));
  const groups = stored.groups.map((group, number) => ({ ...group, number, rows: [], prompt: group.prompt < 0 ? null : prompts[group.prompt], promptNumber: group.prompt }));
  for (const record of records) groups[record.group].rows.push(record);
  for (const group of groups) describeGroup(group);
  groups.sort((a, b) => b.step - a.step || a.number - b.number);
  return { groups, byNumber: new Map(groups.map((group) => [group.number, group])), parts, reasons: reasonsOf(rows), shown: stored.shown, all: stored.all, visits: visitsOf(groups) };
}

function reasonsOf(rows) {
  return Object.entries(rows.reasons).flatMap(([part, codes]) => codes.names.map((name) => `${part}: ${name}`)).sort();
}

/** What the filters and the list need to know of a group. */
function describeGroup(group) {
  const rewards = group.rows.map((row) => row.reward);
  group.mean = mean(rewards);
  group.fresh = group.rows.filter((row) => !row.replayed);
  group.flat = group.split === 'train' && group.fresh.length > 1 && Math.max(...group.fresh.map((row) => row.reward)) - Math.min(...group.fresh.map((row) => row.reward)) <= 1e-6;
  group.replayed = group.rows.some((row) => row.replayed);
  group.failed = group.rows.filter(failed).length;
  group.gap = group.fresh.reduce((worst, row) => Math.max(worst, row.trace ? row.trace[3].reduce((a, b) => Math.max(a, Math.abs(b)), 0) : 0), 0);
  const media = ((group.prompt && group.prompt.media) || []).map((item) => item.name);
  group.words = [group.prompt && group.prompt.question, ...media, ...group.rows.flatMap((row) => [row.text, row.prompt.prompt_id])].join('\n').toLowerCase();
}

/** A completion failed when it is not accurate at all, or was cut. */
function failed(row) {
  const accuracy = row.parts.find((part) => part.name === 'accuracy');
  return row.cut || (accuracy ? !(accuracy.value > 0) : row.reward <= 0);
}

function mean(values) {
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0;
}

/** Sample standard deviation (n - 1), as GRPO takes it. */
function deviation(values) {
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

/** Prompt number -> its groups, oldest first; a replay batch counts for each prompt in it. */
function visitsOf(groups) {
  const found = new Map();
  for (const group of groups) {
    for (const prompt of new Set(group.rows.map((row) => row.promptNumber))) {
      if (!found.has(prompt)) found.set(prompt, []);
      found.get(prompt).push(group);
    }
  }
  for (const visits of found.values()) visits.sort((a, b) => a.step - b.step);
  return found;
}

const KINDS = [['', 'all'], ['flat', 'all rewards equal'], ['mixed', 'rewards differ'], ['failed', 'some completion failed'], ['all_failed', 'all completions failed'], ['hinted', 'hinted'], ['replayed', 'with replayed ones'], ['traced', 'tokens logged'], ['far', 'rollout and trainer differ'], ['cut', 'some completion was cut']];

const TESTS = {
  flat: (group) => group.flat,
  mixed: (group) => group.split === 'train' && !group.flat,
  failed: (group) => group.failed > 0,
  all_failed: (group) => group.failed === group.rows.length,
  hinted: (group) => Boolean(group.hint) || group.rows.some((row) => row.replayed && row.replayed.hint_used),
  replayed: (group) => group.replayed,
  traced: (group) => group.rows.some((row) => row.trace),
  far: (group) => group.gap > FAR,
  cut: (group) => group.rows.some((row) => row.cut),
};

const ORDERS = [['newest', 'newest first'], ['oldest', 'oldest first'], ['lowest', 'lowest reward first'], ['highest', 'highest reward first'], ['gap', 'largest rollout/trainer gap first']];

const SORTS = {
  newest: (a, b) => b.step - a.step, oldest: (a, b) => a.step - b.step,
  lowest: (a, b) => a.mean - b.mean, highest: (a, b) => b.mean - a.mean, gap: (a, b) => b.gap - a.gap,
};

/** The groups that pass all filters. wanted: URLSearchParams */
function filterGroups(groups, wanted) {
  const get = (name) => wanted.get(name) || '';
  const words = get('find').toLowerCase().split(/\s+/).filter(Boolean);
  const number = (name) => (get(name) === '' ? null : Number(get(name)));
  const [first, last, low, high] = ['first', 'last', 'low', 'high'].map(number);
  const [part, reason] = get('reason').split(': ');
  const passed = groups.filter((group) => (!get('split') || group.split === get('split'))
    && (!get('tier') || group.tier === get('tier') || group.rows.some((row) => row.replayed && row.replayed.tier === get('tier')))
    && (!TESTS[get('kind')] || TESTS[get('kind')](group))
    && (first === null || group.step >= first) && (last === null || group.step <= last)
    && (low === null || group.mean >= low) && (high === null || group.mean <= high)
    && (!reason || group.rows.some((row) => row.parts.some((own) => own.name === part && own.reason === reason)))
    && words.every((word) => group.words.includes(word)));
  return SORTS[get('order')] ? passed.sort(SORTS[get('order')]) : passed;
}
