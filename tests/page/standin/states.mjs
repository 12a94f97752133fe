// Situations for the page's tests.
const ago = (minutes) => new Date(Date.now() - minutes * 60000).toISOString();
const pad = (n, width = 2) => String(n).padStart(width, '0');
const server = { name: 'usb-cupboard-1', version: '0.1.0', started: ago(9000), fingerprint: 'SHA256', words: 'amber river stone clock', draining: false, grace_s: 60, time: ago(0) };

export const hostile = {
  markup: '<img src=x onerror="document.title=1">',
  direction: 'kasse-\u202Egpj.exe\u202C\u2066',
  long: 'W'.repeat(128),
};

export const empty = () => ({ server: { ...server }, sticks: [], tills: [], mappings: [], leases: [], pending: [], alarms: [] });

export function stick(n, more = {}) {
  const serial = `5A2F${pad(n, 8)}`;
  return { id: `1209:0001:${serial}`, vendor_id: 0x1209, product_id: 1, serial, by_port: false, label: '', product: 'TSE-USB', manufacturer: 'tillbridge', family: ['cryptovision', 'swissbit', 'diebold'][n % 3], port: `1-${1 + (n % 4)}.${1 + (n % 7)}`,
           present: true, first_seen: ago(90000), last_seen: ago(0), state: 'unmapped', problem: '', remedy: '', fingerprint: 'f0', blocked_until: null, mappings: [], lease: null, ...more };
}

export const till = (name, more = {}) => ({ name, label: '', state: 'connected', address: '10.20.0.17:50512', last_seen: ago(0), session: { user: 'verkauf', domain: 'LADEN', terminal_server: 'TS01', client_name: name.slice(0, 15).toUpperCase(), software: 'tillbridge 0.1.0' },
  certificate: { fingerprint: '3c9a1f0e77d2b6c4a5e8912f3c9a1f0e77d2b6c4a5e8912f3c9a1f0e77d2b6c4', not_after: ago(-60 * 24 * 71), days_left: 71, revoked: false }, rtt_us: 410, state_since: ago(42), seconds_in: { connected: 86400.5, resuming: 12.25, lost: 0, away: 3600, never_seen: 0, revoked: 0 }, mappings: [], note: '', ...more });

export const mapping = (id, stickId, tillName, more = {}) => ({ id, stick: stickId, till: tillName, user: '', terminal_server: '', position: id, source: 'admin', reset: 'soften', pipeline: true, created: ago(5000), created_by: 'anna', reason: '', active: true, ...more });

export const lease = (id, stickId, tillName, more = {}) => ({ id, stick: stickId, till: tillName, address: '10.20.0.17:50512', session: { user: 'verkauf', domain: 'LADEN', terminal_server: 'TS01', client_name: tillName.slice(0, 15).toUpperCase(), software: '' }, since: ago(190 + id * 3), state: 'active', away_since: null, times_away: 0,
  transfers: 12000 + id * 431, errors: 0, bytes_in: 9000000 + id * 77777, bytes_out: 4000000 + id * 3333, p50_us: 620 + (id % 7) * 40, p99_us: 1900 + (id % 5) * 350, rtt_us: 400 + id * 7, ...more });

/** A shop where all is well: `n` tills with their stick. */
export function shop(n = 3) {
  const state = empty();
  const labels = ['Bakery, left', 'Bakery, right', 'Deli counter', 'Till 4', 'Entrance', 'Drinks'];
  for (let i = 1; i <= n; ++i) {
    const one = stick(i, { state: 'in_use', lease: i, label: n > 6 ? '' : `TSE ${labels[(i - 1) % 6]}` }), name = `kasse-${pad(i)}`;
    state.sticks.push(one);
    state.tills.push(till(name, { label: n > 6 ? '' : labels[(i - 1) % 6], mappings: [i] }));
    state.mappings.push(mapping(i, one.id, name));
    state.leases.push(lease(i, one.id, name));
  }
  return state;
}

/** One of everything that can be: for the eye and for accessibility checks. */
export function everything() {
  const state = shop(3);
  state.leases[1] = lease(2, state.sticks[1].id, 'kasse-02', { state: 'away', away_since: ago(0.4), times_away: 2, errors: 3 });
  state.sticks[1].state = 'waiting';
  state.tills[1].state = 'lost';
  state.sticks.push(
    stick(4, { state: 'unmapped' }),
    stick(5, { state: 'refused', problem: 'Its descriptors are not those of the stick that was mapped.', remedy: 'If you exchanged its firmware, accept it; otherwise pull it and find out where it comes from.', label: 'TSE Drinks' }),
    stick(6, { state: 'blocked', blocked_until: ago(-22), label: 'TSE Spare' }),
    stick(7, { state: 'absent', present: false, last_seen: ago(3000), label: 'TSE Cellar' }),
    stick(8, { state: 'free', label: 'TSE Garden' }),
    stick(9, { state: 'offered', label: 'TSE Terrace' }),
    stick(10, { serial: '', by_port: true, id: '04b4:0008@1-4.2', port: '1-4.2', product: 'Serial TSE without a number' }));
  state.tills.push(
    till('kasse-04', { state: 'connected', label: 'Till 4' }),
    till('kasse-05', { state: 'away', last_seen: ago(700), session: null }),
    till('kasse-06', { state: 'never_seen', certificate: null, session: null, last_seen: null }),
    till('kasse-07', { state: 'revoked', session: null, certificate: { days_left: 20, revoked: true } }),
    till('kasse-08', { state: 'away', session: null, last_seen: ago(400), certificate: { days_left: 9, revoked: false } }),
    till('kasse-09', { state: 'resuming' }));
  state.mappings.push(
    mapping(11, state.sticks[0].id, 'kasse-05', { position: 2, terminal_server: 'TS02' }), mapping(12, state.sticks[0].id, 'kasse-08', { position: 3, user: 'springer', reason: 'holiday cover' }),
    mapping(13, state.sticks[4].id, 'kasse-05'), mapping(14, state.sticks[7].id, 'kasse-08', { source: 'file', position: 1 }), mapping(15, state.sticks[8].id, 'kasse-09'));
  state.pending.push({ id: 'p1', name: 'kasse-10', address: '10.20.0.31', words: 'lantern copper violin meadow', first_seen: ago(3), last_seen: ago(0) });
  state.alarms.push({ id: 'a1', kind: 'wrong_stick', since: ago(14), stick: state.sticks[4].id, till: 'kasse-05', text: 'Its descriptors are not those of the stick that was mapped.', remedy: 'If you exchanged its firmware, accept it; otherwise pull it and find out where it comes from.' });
  return state;
}

/** A full cupboard: 64 sticks, most in use. */
export function cupboard() {
  const state = shop(58);
  for (let i = 59; i <= 61; ++i) state.sticks.push(stick(i, { state: 'free' }));
  for (let i = 62; i <= 63; ++i) state.sticks.push(stick(i));
  state.sticks.push(stick(64, { state: 'absent', present: false, last_seen: ago(4000) }));
  for (let i = 59; i <= 61; ++i) { state.tills.push(till(`kasse-${i}`, { state: 'away', session: null, last_seen: ago(600) })); state.mappings.push(mapping(i, state.sticks[i - 1].id, `kasse-${i}`)); }
  return state;
}

/** Names that somebody chose with bad intent. */
export function hostileNames() {
  const state = shop(3), names = Object.values(hostile);
  names.forEach((name, at) => {
    Object.assign(state.sticks[at], { label: name, product: name, manufacturer: name, serial: name, family: at === 2 ? name : 'swissbit' });
    state.leases[at].session = { user: name, domain: name, terminal_server: name, client_name: name, software: name };
    state.leases[at].till = state.mappings[at].till = name;
    Object.assign(state.tills[at], { name, label: name, note: name, session: state.leases[at].session });
    state.pending.push({ id: `p${at}`, name, address: name, words: name, first_seen: ago(3), last_seen: ago(0) });
    state.alarms.push({ id: `a${at}`, kind: name, since: ago(9), stick: state.sticks[at].id, till: name, text: name, remedy: name });
  });
  return state;
}

export const auditEntries = () => [
  { n: 4711, time: ago(2), kind: 'mapping_added', who: 'admin anna', stick: stick(1).id, till: 'kasse-01', reason: 'moved to the bakery', details: { position: 1 } },
  { n: 4710, time: ago(5), kind: 'lease_ended', who: 'till kasse-02', stick: stick(2).id, till: 'kasse-02', reason: '', details: { transfers: 41822, duration_ms: 8712345 } },
  { n: 4709, time: ago(44), kind: 'pending_approved', who: 'admin anna', stick: '', till: 'kasse-03', reason: 'new till at the deli counter', details: { words: 'lantern copper violin meadow' } },
  { n: 4708, time: ago(1500), kind: 'login_refused', who: 'admin ?', stick: '', till: '', reason: 'wrong password', details: { address: '10.20.0.99' } },
  { n: 4707, time: ago(1600), kind: 'stick_attached', who: 'system', stick: stick(3).id, till: '', reason: '', details: { port: '1-2.3' } }];

export const someUsers = () => [{ name: 'anna', role: 'admin', last_login: ago(12) }, { name: 'ben', role: 'viewer', last_login: ago(60 * 24 * 3) }, { name: hostile.markup, role: 'viewer', last_login: null }];
