// What the page knows of the server: the state document, kept new by the events that the server sends.
import { api } from './api.js';

const LISTS = { sticks: 'id', tills: 'name', mappings: 'id', leases: 'id', pending: 'id', alarms: 'id' };
const POINTS = 60;      // of a sparkline: two minutes
const LOG_LINES = 200;
const WARNINGS = new Set(['alarm_raised', 'stick_refused', 'till_lost', 'till_refused', 'login_refused', 'pairing_refused', 'action_refused', 'lease_away', 'log_damaged']);
const SILENCE_MS = 15000; // the server sends load every 2 s: after this the connection is dead, whatever TCP thinks

export class Store {
  constructor(changed) {
    this.changed = changed;
    this.connection = 'connecting'; // 'live', 'lost'
    this.lastHeard = null;
    this.log = [];
    this.history = new Map(); // lease id -> [{p50, p99}]
    this.clear();
  }

  clear() {
    this.loaded = false;
    this.version = 0;
    this.server = null;
    for (const list of Object.keys(LISTS)) this[list] = new Map();
  }

  /** Begins to follow the server; stop() ends it. */
  start() {
    this.stop();
    this.stopped = false;
    this.#listen();
    this.watchdog = setInterval(() => this.#watch(), 1000);
  }

  stop() {
    this.stopped = true;
    clearInterval(this.watchdog);
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  async reload() {
    if (this.loading) { this.loadAgain = true; return; }
    // The answer and the events come on two connections: what is told meanwhile is applied to the answer.
    this.loading = true;
    this.meanwhile = [];
    try {
      const state = await api.state();
      if (this.stopped) return;
      this.clear();
      this.#take(state);
      this.loaded = true;
    } catch (error) {
      if (error.status !== 401) this.#lost();
    } finally {
      this.loading = false;
    }
    const again = this.loadAgain;
    this.loadAgain = false;
    for (const event of this.meanwhile.sort((a, b) => a.version - b.version)) this.#state(event);
    if (again && !this.stopped) this.reload();
    this.changed();
  }

  #take(state) {
    this.version = state.version;
    this.server = state.server ?? this.server;
    for (const [list, key] of Object.entries(LISTS)) {
      for (const item of state[list] ?? []) this[list].set(String(item[key]), item);
    }
  }

  #listen() {
    const source = new EventSource('/api/v1/events');
    this.source = source;
    const on = (type, handle) => source.addEventListener(type, (event) => {
      if (source !== this.source) return;
      this.lastHeard = Date.now();
      handle(JSON.parse(event.data));
    });
    source.onopen = () => {
      this.lastHeard = Date.now();
      this.connection = 'live';
      this.delay = 500;
      this.reload(); // what happened while nobody listened
    };
    source.onerror = () => {
      if (source !== this.source) return;
      this.#lost();
      // A browser comes again by itself only after a cut, not after an answer that says no.
      if (source.readyState === EventSource.CLOSED) this.#later();
    };
    on('state', (event) => this.#state(event));
    on('load', (event) => this.#load(event));
    on('log', (event) => {
      this.log.unshift({ ...event, number: (this.logNumber = (this.logNumber ?? 0) + 1) });
      this.log.length = Math.min(this.log.length, LOG_LINES);
      this.changed();
    });
  }

  /** What happened before: entries of the audit log as events, newest first. */
  remember(entries) {
    const known = entries.map((entry) => ({ time: entry.time, kind: entry.kind, stick: entry.stick, till: entry.till, who: entry.who,
                                            level: WARNINGS.has(entry.kind) ? 'warning' : 'info', number: `audit ${entry.n}` }));
    this.log = [...this.log, ...known].slice(0, LOG_LINES);
    this.changed();
  }

  #state(event) {
    if (this.loading) { this.meanwhile.push(event); return; }
    if (!this.loaded || event.version <= this.version) return;
    if (event.version !== this.version + 1) { this.reload(); return; }
    this.version = event.version;
    const { server, ...changed } = event.changed ?? {};
    if (server) this.server = { ...this.server, ...server };
    for (const [list, key] of Object.entries(LISTS)) {
      for (const item of changed[list] ?? []) this[list].set(String(item[key]), item);
      for (const gone of event.removed?.[list] ?? []) this[list].delete(String(gone));
    }
    for (const lease of this.history.keys()) {
      if (!this.leases.has(lease)) this.history.delete(lease);
    }
    this.changed();
  }

  #load(event) {
    for (const load of event.leases ?? []) {
      const lease = this.leases.get(String(load.id));
      if (!lease) continue;
      const points = this.history.get(String(load.id)) ?? [];
      // A stick at rest has no latency: the line pauses.
      points.push(load.p50_us === null ? null : { p50: load.p50_us, p99: load.p99_us });
      if (points.length > POINTS) points.shift();
      this.history.set(String(load.id), points);
      this.leases.set(String(load.id), { ...lease, ...load });
    }
    this.changed();
  }

  #lost() {
    if (this.stopped || this.connection === 'lost') return;
    this.connection = 'lost';
    this.changed();
  }

  #later() {
    clearTimeout(this.again);
    this.delay = Math.min((this.delay ?? 500) * 2, 10000);
    this.again = setTimeout(async () => {
      try { await api.me(); } catch (error) { if (error.status === 401 || this.stopped) return; }
      if (!this.stopped) this.#listen();
    }, this.delay);
  }

  #watch() {
    if (this.source?.readyState === EventSource.OPEN && Date.now() - this.lastHeard > SILENCE_MS) {
      this.source.close();
      this.#lost();
      this.#later();
    }
  }
}
