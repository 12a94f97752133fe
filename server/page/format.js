// How things are written: names of strangers, times, sizes, latencies.
import { h } from './view.js';
import { locale, t } from './i18n.js';

// Characters that are not seen but change how their surroundings look: controls, direction marks, zero widths, tags.
const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** What somebody calls himself, with a sign in place of each character that would not be seen. */
export const visible = (text) => String(text ?? '').replace(unseen, '\u2423');

/** The same where there is room for a few words only. */
export function short(text) {
  const all = [...visible(text)];
  return all.length > 40 ? `${all.slice(0, 39).join('')}…` : all.join('');
}

/** The same as an element whose direction does not touch its surroundings. */
export const name = (text, classes = '') => h('bdi', { class: classes || null, title: visible(text) }, visible(text));

export const stickName = (stick) => stick.label || stick.product || stick.serial || stick.id;
export const tillName = (till) => till.label ? `${till.label} (${till.name})` : till.name;

export const number = (value) => new Intl.NumberFormat(locale()).format(value);

export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; ++unit; }
  return `${new Intl.NumberFormat(locale(), { maximumFractionDigits: unit && value < 100 ? 1 : 0 }).format(value)} ${units[unit]}`;
}

/** Microseconds as milliseconds, with as many digits as mean something. */
export function latency(us) {
  if (us === null || us === undefined) return '–';
  const ms = us / 1000;
  const digits = ms < 10 ? 2 : ms < 100 ? 1 : 0;
  return `${new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(ms)} ms`;
}

const sameDay = (a, b) => a.toDateString() === b.toDateString();

/** "14:05" today, "21 Nov, 14:05" before; an empty string for no time. */
export function time(text, { seconds = false } = {}) {
  if (!text) return '';
  const when = new Date(text);
  if (Number.isNaN(when.getTime())) return '';
  const clock = { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) };
  const today = sameDay(when, new Date());
  return new Intl.DateTimeFormat(locale(), today ? clock : { day: 'numeric', month: 'short', ...(when.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' }), ...clock }).format(when);
}

export const fullTime = (text) => text ? new Intl.DateTimeFormat(locale(), { dateStyle: 'full', timeStyle: 'long' }).format(new Date(text)) : '';

/** The time as an element; the whole of it is in its title. */
export const timeElement = (text, options) => h('time', { datetime: text, title: fullTime(text) }, time(text, options));

/** "3 hours", of the time since then. */
export const age = (text) => duration(Math.max(0, (Date.now() - new Date(text)) / 1000));

/** "3 hours", of seconds. */
export function duration(s) {
  const [value, unit] = s < 90 ? [s, 'second'] : s < 5400 ? [s / 60, 'minute'] : s < 129600 ? [s / 3600, 'hour'] : [s / 86400, 'day'];
  return new Intl.NumberFormat(locale(), { style: 'unit', unit, unitDisplay: 'long', maximumFractionDigits: 0 }).format(value);
}

/** 'user on TS01', as far as the till told it. */
export function sessionText(session) {
  if (!session) return '';
  const user = [session.domain, session.user].filter(Boolean).join('\\');
  if (user && session.terminal_server) return t('session.on', { user: visible(user), server: visible(session.terminal_server) });
  return visible(user || session.terminal_server || session.client_name || '');
}
