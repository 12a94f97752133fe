// Every text of the page, in the reader's language.
import { en } from './texts_en.js';
import { de } from './texts_de.js';

const languages = { en, de };
let current = 'en';

const stored = () => { try { return localStorage.getItem('tillbridge.language'); } catch { return null; } };

export function chooseLanguage(wanted = stored()) {
  const preferred = [wanted, ...(navigator.languages ?? [navigator.language])].map((tag) => String(tag ?? '').slice(0, 2));
  current = preferred.find((tag) => tag in languages) ?? 'en';
  document.documentElement.lang = current;
}

export function setLanguage(language) {
  try { localStorage.setItem('tillbridge.language', language); } catch { /* for this time only */ }
  chooseLanguage(language);
}

export const language = () => current;

/** With the reader's own country where the browser's language is the page's. */
export const locale = () => (navigator.languages ?? []).find((tag) => tag.startsWith(current)) ?? (current === 'de' ? 'de-DE' : 'en-GB');

/** Whether there is a text of this key. */
export const has = (key) => key in languages[current];

function text(key, n) {
  const found = languages[current][key] ?? languages.en[key] ?? key;
  if (typeof found === 'string') return found;
  return found[new Intl.PluralRules(current).select(n)] ?? found.other;
}

/** The text, its {places} filled. One with several forms takes that of the number `n`. */
export const t = (key, values = {}) => text(key, values.n).replace(/\{(\w+)\}/g, (place, name) => (values[name] ?? place));

/** The same as a list of pieces, for places that are elements. */
export function tv(key, values = {}) {
  return text(key, values.n).split(/(\{\w+\})/).map((piece) => {
    const name = /^\{(\w+)\}$/.exec(piece)?.[1];
    return name !== undefined && name in values ? values[name] : piece;
  });
}
