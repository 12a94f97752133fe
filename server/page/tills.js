// The tills beside the tree: who waits to join, who is there, and what to drag onto a stick.
import { h } from './view.js';
import { icon } from './icons.js';
import { t, tv } from './i18n.js';
import { name, stickName, timeElement, visible } from './format.js';
import { leasesOfTill, mappingsOfTill, tillsInOrder } from './model.js';
import { draggable } from './drag.js';
import { menuButton } from './menu.js';

const ENDING_DAYS = 14; // a certificate that was renewed at two thirds of its life never gets there

function subtitle(store, till) {
  const lease = leasesOfTill(store, till)[0];
  if (lease) return tv('till.has', { stick: name(stickName(store.sticks.get(lease.stick) ?? { id: lease.stick })) });
  if (till.state === 'revoked') return t('till.revoked.more');
  const mapped = mappingsOfTill(store, till);
  if (!mapped.length) return t('till.no_stick');
  const stick = name(stickName(store.sticks.get(mapped[0].stick) ?? { id: mapped[0].stick }));
  return mapped.length > 1 ? tv('till.mapped.more', { stick, n: mapped.length - 1 }) : tv('till.mapped', { stick });
}

export function tillItem(store, till, context) {
  const days = till.certificate?.days_left, ending = typeof days === 'number' && days <= ENDING_DAYS && till.state !== 'revoked';
  const drag = context.mayChange && till.state !== 'revoked'
    ? draggable({ kind: 'till', label: till.name, dropped: (stick) => context.actions.drop({ stick, till: till.name }) }) : {};
  return h('li.till', { key: till.name, class: `till-${till.state}`, 'data-takes': till.state === 'revoked' ? null : 'stick', 'data-id': till.name, ...drag },
    context.mayChange && h('span.grip', { 'aria-hidden': 'true' }, icon('grip')),
    h(`span.till-state.state-${till.state}`, icon(till.state, { label: t(`till.${till.state}`) })),
    h('div.till-words',
      h('button.link', { type: 'button', 'aria-haspopup': 'dialog', onclick: () => context.actions.showTill(till.name) }, name(till.name, 'strong'), till.label && name(till.label, 'muted')),
      h('p.muted.till-line', subtitle(store, till))),
    h('span.till-end', ending ? h('span.tag.warn', icon('warning'), t('certificate.ends', { n: Math.max(0, Math.floor(days)) }))
      : till.state === 'connected' ? null : h('span.muted', till.state === 'away' && till.last_seen ? timeElement(till.last_seen) : t(`till.${till.state}`))),
    menuButton({ label: t('menu.of', { name: visible(till.name) }), items: () => context.menus.till(till) }));
}

export function tills(store, ui, context) {
  const all = tillsInOrder(store);
  const shown = all.filter((till) => `${till.name} ${till.label ?? ''}`.toLowerCase().includes(ui.tillSearch.toLowerCase()));
  return h('section.panel.tills-panel', { 'aria-labelledby': 'tills-title' },
    h('div.panel-head',
      h('h2', { id: 'tills-title' }, t('tills')), h('span.count', String(all.length)),
      context.mayChange && h('button.primary.small', { type: 'button', onclick: () => context.actions.addTill() }, icon('plus'), h('span', t('till.add')))),
    all.length > 12 && h('label.search', icon('search'), h('span.unseen', t('tills.search')), h('input', { type: 'search', placeholder: t('tills.search'), value: ui.tillSearch, oninput: (event) => { ui.tillSearch = event.target.value; ui.redraw(); } })),
    all.length === 0
      ? h('div.empty', icon('till'), h('p.strong', t('tills.empty')), h('p.muted', t('tills.empty.more')))
      : h('ul.tills', { 'aria-labelledby': 'tills-title' }, shown.map((till) => tillItem(store, till, context))),
    all.length > 0 && shown.length === 0 && h('p.muted.empty', t('tills.none_fits')),
    context.mayChange && all.length > 0 && store.sticks.size > 0 && h('p.help', t('tills.help')));
}
