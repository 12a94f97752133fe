// What the state document means for a person: who has which stick, what is well, what needs somebody.
import { has, t } from './i18n.js';
import { stickName, tillName, short } from './format.js';

const values = (map) => [...map.values()];
const byText = (text) => (a, b) => text(a).localeCompare(text(b), undefined, { numeric: true });

export const leaseOf = (store, stick) => store.leases.get(String(stick.lease)) ?? values(store.leases).find((lease) => lease.stick === stick.id) ?? null;

/** The stick's mappings in the order in which they are looked at. */
export const mappingsOf = (store, stick) => values(store.mappings).filter((mapping) => mapping.stick === stick.id)
  .sort((a, b) => (a.source === 'file' ? 0 : 1) - (b.source === 'file' ? 0 : 1) || a.position - b.position);
export const mappingsOfTill = (store, till) => values(store.mappings).filter((mapping) => mapping.till === till.name);
export const leasesOfTill = (store, till) => values(store.leases).filter((lease) => lease.till === till.name);

export const sticksInOrder = (store) => values(store.sticks).sort((a, b) => byText((stick) => stickName(stick))(a, b) || byText((stick) => stick.id)(a, b));
export const tillsInOrder = (store) => values(store.tills).sort(byText((till) => till.name));
/** Something is wrong with the stick itself. */
export const isUrgent = (stick) => stick.state === 'refused' || (Boolean(stick.problem) && !['blocked', 'unmapped', 'in_use', 'free'].includes(stick.state));
/** An admin ended its use: its till is there and does not get it until it is given back. */
export const isReleased = (store, stick) => stick.state === 'free' && !store.server?.draining && mappingsOf(store, stick).some((mapping) => store.tills.get(mapping.till)?.state === 'connected');

const online = new Set(['connected', 'resuming']);
export const isOnline = (till) => online.has(till.state);

/** A text of the server, in the reader's language where the page knows what it is about. */
const worded = (key, fallback, names) => has(key) ? t(key, names) : fallback;

/**
 * What needs somebody: {key, icon, title, text, remedy, stick, till, pending, alarm}. `text` and `remedy` that come from
 * the server have `foreign`, since they are English in every language.
 */
export function needs(store) {
  const list = [];
  const named = (item) => ({
    stick: store.sticks.has(item.stick) ? short(stickName(store.sticks.get(item.stick))) : short(item.stick ?? ''),
    till: short(item.till ?? ''),
  });
  const sticksWithAlarm = new Set(), tillsWithAlarm = new Set();
  for (const alarm of values(store.alarms).sort((a, b) => String(a.since).localeCompare(String(b.since)))) {
    if (alarm.stick) sticksWithAlarm.add(alarm.stick);
    if (alarm.till) tillsWithAlarm.add(alarm.till);
    list.push({ key: `alarm ${alarm.id}`, icon: 'alarm', alarm, title: worded(`alarm.${alarm.kind}`, null, named(alarm)), text: alarm.text,
                remedy: alarm.remedy, stick: store.sticks.get(alarm.stick), till: store.tills.get(alarm.till), since: alarm.since });
  }
  for (const pending of values(store.pending)) {
    list.push({ key: `pending ${pending.id}`, icon: 'pending', pending, title: t('need.pending', { till: short(pending.name) }), since: pending.first_seen });
  }
  for (const stick of sticksInOrder(store)) {
    if (sticksWithAlarm.has(stick.id) || !isUrgent(stick)) continue;
    sticksWithAlarm.add(stick.id);
    list.push({ key: `stick ${stick.id}`, icon: 'refused', stick, title: t(`need.stick.${stick.state === 'refused' ? 'refused' : 'problem'}`, { stick: short(stickName(stick)) }),
                text: stick.problem, remedy: stick.remedy });
  }
  for (const till of tillsInOrder(store)) {
    if (till.state !== 'connected' || tillsWithAlarm.has(till.name) || leasesOfTill(store, till).length) continue;
    const mapped = mappingsOfTill(store, till).map((mapping) => store.sticks.get(mapping.stick)).filter(Boolean);
    if (!mapped.length) {
      if (isFirstRun(store)) continue; // the first steps say so
      list.push({ key: `till ${till.name}`, icon: 'till', till, title: t('need.till.unmapped', { till: short(tillName(till)) }), remedy: t('need.till.unmapped.remedy') });
      continue;
    }
    // An alarm or a block of its stick already says why; one that is offered is on its way.
    if (mapped.some((stick) => sticksWithAlarm.has(stick.id) || ['offered', 'blocked'].includes(stick.state))) continue;
    const stick = mapped[0], other = leaseOf(store, stick);
    const why = stick.state === 'absent' ? 'absent' : other ? 'taken' : store.server?.draining ? 'draining' : 'conditions';
    list.push({ key: `till ${till.name}`, icon: 'till', till, stick, title: t('need.till.without', { till: short(tillName(till)) }),
                text: t(`need.till.${why}`, { stick: short(stickName(stick)), other: short(other?.till ?? '') }), remedy: t(`need.till.${why}.remedy`) });
  }
  return list;
}

/** The one line at the top. */
export function headline(store, list) {
  const tills = values(store.tills).filter((till) => till.state !== 'revoked');
  const present = tills.filter(isOnline), served = present.filter((till) => leasesOfTill(store, till).length);
  if (list.length) return { mood: 'need', text: t('headline.need', { n: list.length }) };
  if (isFirstRun(store)) return { mood: 'first', text: t('headline.first') };
  if (store.server?.draining) return { mood: 'drain', text: t('headline.drain') };
  if (!present.length) return { mood: 'quiet', text: t('headline.quiet'), more: t('headline.quiet.more', { n: tills.length }) };
  const away = tills.length - present.length;
  if (served.length < present.length) return { mood: 'quiet', text: t('headline.some', { n: served.length, all: present.length }) };
  return { mood: 'good', text: away ? t('headline.good.here', { n: served.length }) : t('headline.good', { n: served.length }),
           more: away ? t('headline.good.away', { n: away }) : null };
}

/** Until somebody has a stick, a till and a mapping, the page says what comes next. */
export const isFirstRun = (store) => !values(store.sticks).length || !store.tills.size || !store.mappings.size;

/** The highest p99 of the sticks in use, or null. */
export const worstLatency = (store) => values(store.leases).reduce((most, lease) => lease.p99_us > (most ?? 0) ? lease.p99_us : most, null);
