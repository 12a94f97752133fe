// Short notices: seen in a corner, and read out by a screen reader.
import { h, patch } from './view.js';
import { icon } from './icons.js';
import { t } from './i18n.js';

const STAY_MS = 8000;
let notices = [], number = 0;
const corner = document.createElement('div');
corner.className = 'notices';
const live = document.createElement('div');
live.className = 'unseen';
live.setAttribute('role', 'status');
document.body.append(corner, live);

/** Only read out: for what can be seen anyway. */
export function announce(text) {
  live.textContent = '';
  setTimeout(() => { live.textContent = text; }, 50);
}

function show() {
  patch(corner, notices.map((notice) => h('div', { key: notice.number, class: `notice ${notice.kind}`, role: notice.kind === 'bad' ? 'alert' : null },
    icon(notice.kind === 'bad' ? 'error' : 'good'),
    h('div.notice-text', h('p', notice.text), notice.remedy && h('p.muted', notice.remedy)),
    notice.action && h('button.quiet', { type: 'button', onclick: () => { drop(notice); notice.action.run(); } }, notice.action.label),
    h('button.icon-button', { type: 'button', 'aria-label': t('close'), onclick: () => drop(notice) }, icon('close')))));
}

function drop(notice) {
  clearTimeout(notice.timer);
  notices = notices.filter((other) => other !== notice);
  show();
}

function add(notice) {
  notice.number = ++number;
  notices = [...notices.slice(-3), notice];
  notice.timer = setTimeout(() => drop(notice), notice.kind === 'bad' ? 2 * STAY_MS : STAY_MS);
  show();
}

export function notify(text, action = null) {
  add({ kind: 'good', text, action });
  announce(text);
}

export const notifyError = (error) => add({ kind: 'bad', text: error.message, remedy: error.remedy });
