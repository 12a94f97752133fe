// What happens, as it happens.
import { h } from './view.js';
import { icon } from './icons.js';
import { has, language, t } from './i18n.js';
import { name, short, stickName, timeElement, visible } from './format.js';

const icons = { error: 'error', warning: 'warning' };

// Of these the server's sentence says more than their name.
const told = /^alarm_|_refused$/;

/** Who did it, where that is not said already. */
export function whoText(who) {
  const [, role, account] = /^(admin|viewer) (.*)$/s.exec(who ?? '') ?? [];
  return role ? `${t(`role.${role}`)} ${account}` : who ?? '';
}

/** The page's own words for what it knows, else the server's. */
export function eventText(store, event) {
  const key = `kind.${event.kind}`, stick = store.sticks.get(event.stick);
  if (event.text && (!has(key) || (language() === 'en' && told.test(event.kind)))) return h('span', { lang: language() === 'en' ? null : 'en' }, visible(event.text));
  const names = [event.stick && name(short(stick ? stickName(stick) : event.stick)), event.till && name(short(event.till))].filter(Boolean);
  return h('span', has(key) ? t(key) : visible(event.kind), names.map((one) => [' · ', one]));
}

export function log(store, ui) {
  const shown = store.log.filter((event) => !ui.warningsOnly || event.level in icons);
  return h('section.panel.log-panel', { 'aria-labelledby': 'log-title' },
    h('div.panel-head', h('h2', { id: 'log-title' }, t('log')),
      h('label.check', h('input', { type: 'checkbox', checked: ui.warningsOnly, onchange: (event) => { ui.warningsOnly = event.target.checked; ui.redraw(); } }), h('span', t('log.warnings')))),
    shown.length === 0
      ? h('div.empty', h('p.muted', t(ui.warningsOnly ? 'log.empty.warnings' : 'log.empty')))
      : h('div.log', { tabindex: '0', role: 'log', 'aria-live': 'off', 'aria-labelledby': 'log-title' }, h('ol', shown.map((event) =>
          h('li', { key: event.number, class: event.level in icons ? event.level : null },
            timeElement(event.time, { seconds: true }),
            h('p', event.level in icons && icon(icons[event.level], { label: t(`level.${event.level}`) }), eventText(store, event), /^(admin|viewer) /.test(event.who ?? '') && h('span.muted', ' · ', name(whoText(event.who)))))))));
}
