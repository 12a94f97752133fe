// The top of the page: one line that says whether all is well, and what needs somebody if it is not.
import { h } from './view.js';
import { icon } from './icons.js';
import { has, language, t } from './i18n.js';
import { latency, name, short, stickName, tillName, timeElement, visible } from './format.js';
import { headline, isFirstRun, isReleased, needs, sticksInOrder, worstLatency } from './model.js';

/** A text of the server as a sentence. It is English; a screen reader should know that. */
const foreign = (text) => text && h('span', { lang: language() === 'en' ? null : 'en' }, visible(text).replace(/^[a-z]/, (first) => first.toUpperCase()).replace(/[^.!?…]$/, '$&.'));

function card(store, item, context) {
  const { actions, mayChange } = context, buttons = [];
  if (mayChange && item.pending) {
    buttons.push(h('button.primary.small', { type: 'button', onclick: () => actions.approve(item.pending) }, t('pending.approve')),
                 h('button.quiet.small', { type: 'button', onclick: () => actions.ignore(item.pending) }, t('pending.ignore')));
  } else if (mayChange && item.stick?.state === 'refused') {
    buttons.push(h('button.quiet.small', { type: 'button', onclick: () => actions.accept(item.stick) }, t('stick.accept')));
  } else if (mayChange && item.stick && isReleased(store, item.stick)) {
    buttons.push(h('button.quiet.small', { type: 'button', onclick: () => actions.giveBack(item.stick) }, t('give_back')));
  } else if (mayChange && item.till && !item.alarm) {
    buttons.push(h('button.quiet.small', { type: 'button', onclick: () => actions.map({ till: item.till.name }) }, t('map')));
  }
  if (item.stick) buttons.push(h('button.quiet.small', { type: 'button', onclick: () => actions.show(item.stick.id) }, t('need.show')));
  // The page's own words for an alarm say what and, where they can, what helps; else the server's.
  const key = item.alarm ? `alarm.${item.alarm.kind}` : null;
  const remedy = key && has(`${key}.remedy`) ? t(`${key}.remedy`) : item.alarm || !item.till ? foreign(item.remedy) : item.remedy;
  return h('li.need', { key: item.key },
    h('span.need-icon', icon(item.icon)),
    h('div.need-body',
      h('p.need-title', item.title ? h('bdi', item.title) : foreign(item.text), item.since && h('span.muted.need-time', timeElement(item.since))),
      item.pending
        ? [h('p.words', { 'aria-label': t('pending.words') }, String(item.pending.words ?? '').split(/[\s-]+/).filter(Boolean).map((word) => h('span.word', visible(word)))),
           h('p.muted', t('pending.compare'), ' ', name(item.pending.address, 'mono'))]
        : [item.alarm && !item.title && (item.stick || item.till) && h('p.about', item.stick && [icon('stick'), name(short(stickName(item.stick)))], item.till && [icon('till'), name(short(tillName(item.till)))]),
           item.title && item.text && !(key && has(`${key}.remedy`)) && h('p', item.alarm ? foreign(item.text) : item.text), remedy && h('p.remedy', remedy)]),
    buttons.length > 0 && h('div.need-actions', buttons));
}

/** A cell for each stick: the whole cupboard in one look. The filters beside the tree say the same in words. */
function cupboard(store, context) {
  const sticks = sticksInOrder(store);
  if (sticks.length < 2) return null;
  return h('div.cupboard', { 'aria-hidden': 'true' }, sticks.map((stick) =>
    h('span.slot', { key: stick.id, class: `state-${stick.state}`, title: `${visible(stickName(stick))}: ${t(`stick.${stick.state}`)}`, onclick: () => context.actions.show(stick.id) }, icon(stick.state))));
}

export function overview(store, context) {
  const list = needs(store), head = headline(store, list), worst = worstLatency(store);
  const inUse = [...store.leases.values()].length;
  return h('section.headline', { class: `mood-${head.mood}`, 'aria-labelledby': 'headline' },
    h('div.headline-line',
      h('span.headline-icon', icon({ need: 'alarm', first: 'mark', drain: 'wrench', quiet: 'away', good: 'good' }[head.mood])),
      h('div.headline-words',
        h('h1', { id: 'headline', 'aria-live': 'polite' }, head.text),
        h('p.muted', [head.more, store.sticks.size > 0 && t('headline.sticks', { n: inUse, all: store.sticks.size }), worst && t('headline.worst', { time: latency(worst) })].filter(Boolean).map((part, at) => [at > 0 && h('span.dot', ' · '), part])))),
    cupboard(store, context),
    store.server?.draining && h('div.banner', icon('wrench'), h('p', inUse ? t('drain.banner', { n: inUse }) : t('drain.banner.none')), context.mayChange && h('button.quiet.small', { type: 'button', onclick: () => context.actions.drain(false) }, t('drain.end'))),
    list.length > 0 && h('ul.needs', { 'aria-label': t('needs') }, list.map((item) => card(store, item, context))),
    isFirstRun(store) && firstRun(store, context));
}

/** What comes next, until there is a stick, a till and a mapping. */
function firstRun(store, context) {
  const steps = [
    { key: 'stick', done: store.sticks.size > 0, action: null },
    { key: 'till', done: store.tills.size > 0, action: context.mayChange && { label: t('till.add'), run: () => context.actions.addTill() } },
    { key: 'map', done: store.mappings.size > 0, action: context.mayChange && store.sticks.size > 0 && store.tills.size > 0 && { label: t('map'), run: () => context.actions.map({}) } },
    { key: 'session', done: store.leases.size > 0, action: null },
  ];
  const next = steps.find((step) => !step.done);
  return h('ol.steps', { 'aria-label': t('first.title') }, steps.map((step, at) =>
    h('li.step', { key: step.key, class: step.done ? 'done' : step === next ? 'next' : null, 'aria-current': step === next ? 'step' : null },
      h('span.step-number', step.done ? icon('check', { label: t('first.done') }) : String(at + 1)),
      h('div', h('p.strong', t(`first.${step.key}`)), h('p.muted', t(`first.${step.key}.more`)),
        step.action && h('button', { type: 'button', class: step === next ? 'primary small' : 'quiet small', onclick: step.action.run }, step.action.label)))));
}
