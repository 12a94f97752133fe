// A server with the API of tillbridged and a scripted state: shows the page situations that real sticks get into only with
// patience or damage (64 of them, hostile names, a lost connection). What really happens is tested in chain_test.py.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const folder = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../../../server/page');
const types = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8', svg: 'image/svg+xml' };
const LISTS = { sticks: 'id', tills: 'name', mappings: 'id', leases: 'id', pending: 'id', alarms: 'id' };
const USER = 'anna', PASSWORD = 'correct horse battery', COOKIE = 'tillbridge_session=one';

/** The policy that tillbridged sends is the one that the page is tested with. */
export function policy() {
  const text = fs.readFileSync(path.join(folder, 'assets.hpp'), 'utf8');
  const constant = /content_security_policy =([^;]*(?:"[^"]*"\s*)+);/.exec(text)[1];
  return [...constant.matchAll(/"([^"]*)"/g)].map((piece) => piece[1]).join('');
}

export class Standin {
  constructor(state, { role = 'admin', users = [], audit = [] } = {}) {
    this.state = { version: 1, ...state };
    this.me = { user: USER, role, csrf: 'c5rf' };
    this.users = users;
    this.audit = audit;
    this.viewers = new Set();
    this.requests = []; // changing ones: {method, path, body}
    this.once = new Set(['first-token']);
    this.loggedIn = false;
    this.next = 100;
  }

  async start() {
    const csp = policy();
    this.server = http.createServer((request, response) => this.#handle(request, response, csp).catch((error) => { response.writeHead(500).end(String(error)); }));
    await new Promise((done) => this.server.listen(this.port ?? 0, '127.0.0.1', done));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
    this.ticking = setInterval(() => this.#load(), this.tick ?? 500);
    return this;
  }

  async stop() {
    clearInterval(this.ticking);
    for (const viewer of this.viewers) viewer.destroy();
    this.viewers.clear();
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  list(name) { return this.state[name]; }
  find(name, id) { return this.state[name].find((item) => String(item[LISTS[name]]) === String(id)); }

  /** Items that are new or changed, and ids of those that are gone: {sticks: [...]}, {leases: [7]}. */
  change(changed = {}, removed = {}) {
    for (const [name, items] of Object.entries(changed)) {
      if (name === 'server') { Object.assign(this.state.server, items); continue; }
      for (const item of items) {
        const at = this.state[name].findIndex((other) => other[LISTS[name]] === item[LISTS[name]]);
        if (at < 0) this.state[name].push(item);
        else this.state[name][at] = item;
      }
    }
    for (const [name, ids] of Object.entries(removed)) this.state[name] = this.state[name].filter((item) => !ids.includes(item[LISTS[name]]));
    this.state.version += 1;
    this.#send('state', { version: this.state.version, changed, removed });
  }

  log(event) { this.#send('log', { time: new Date().toISOString(), level: 'info', kind: 'note', ...event }); }

  #send(type, data) { for (const viewer of this.viewers) viewer.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`); }

  #load() {
    const leases = this.state.leases.filter((lease) => lease.state === 'active');
    for (const lease of leases) this.work?.(lease);
    this.#send('load', { leases: leases.map(({ id, transfers, errors, bytes_in, bytes_out, p50_us, p99_us, rtt_us }) => ({ id, transfers, errors, bytes_in, bytes_out, p50_us, p99_us, rtt_us })) });
  }

  async #handle(request, response, csp) {
    const url = new URL(request.url, this.url), parts = url.pathname.split('/').slice(1).map(decodeURIComponent);
    if (parts[0] !== 'api') {
      const file = path.join(folder, path.basename(url.pathname) || 'index.html');
      if (!fs.existsSync(file)) { response.writeHead(404).end(); return; }
      response.writeHead(200, { 'Content-Type': types[path.extname(file).slice(1)], 'Content-Security-Policy': csp, 'Cache-Control': 'no-cache' }).end(fs.readFileSync(file));
      return;
    }
    let text = '';
    for await (const piece of request) text += piece;
    const body = text ? JSON.parse(text) : {}, [, , what, id, verb] = parts, method = request.method;
    const answer = (status, content, headers = {}) => response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(content));
    const refuse = (status, code, message, remedy = '') => answer(status, { error: { code, message, remedy } });
    if (what === 'login') {
      const good = id === 'once' ? this.once.delete(body.token) && body.user && body.password : body.user === USER && body.password === PASSWORD;
      if (!good) { refuse(401, 'wrong_login', 'Name or password is wrong.', 'Try again; after five wrong tries wait a minute.'); return; }
      this.loggedIn = true;
      answer(200, this.me, { 'Set-Cookie': `${COOKIE}; HttpOnly; SameSite=Strict; Path=/` });
      return;
    }
    if (!this.loggedIn || !(request.headers.cookie ?? '').includes(COOKIE)) { refuse(401, 'not_logged_in', 'Log in first.'); return; }
    if (method !== 'GET') {
      if (request.headers['x-csrf-token'] !== this.me.csrf) { refuse(403, 'csrf', 'The request did not come from this page.'); return; }
      this.requests.push({ method, path: url.pathname.replace('/api/v1', ''), body });
      if (this.refusal) { refuse(...this.refusal); return; }
    }
    const verbs = {
      'GET me': () => answer(200, this.me),
      'POST logout': () => { this.loggedIn = false; answer(200, {}); },
      'GET state': () => answer(200, this.state),
      'GET users': () => answer(200, { users: this.users }),
      'POST users': () => { this.users.push({ name: body.name, role: body.role, last_login: null }); answer(200, {}); },
      'GET audit': () => id === 'verify' ? answer(200, { intact: true, entries: 4711, findings: [], signed_to: 4711, signed_at: new Date().toISOString() })
        : answer(200, { entries: this.audit.filter((entry) => (!url.searchParams.get('stick') || entry.stick === url.searchParams.get('stick')) && (!url.searchParams.get('till') || entry.till === url.searchParams.get('till'))) }),
      'GET events': () => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
        response.write(': hello\n\n');
        this.viewers.add(response);
        response.on('close', () => this.viewers.delete(response));
      },
      'POST mappings': () => {
        const gone = body.also ? [] : this.state.mappings.filter((mapping) => mapping.stick === body.stick && mapping.source !== 'file').map((mapping) => mapping.id);
        const mapping = { id: this.next++, stick: body.stick, till: body.till, user: body.user ?? '', terminal_server: body.terminal_server ?? '', position: this.state.mappings.length + 1, source: 'admin', reset: 'soften', pipeline: true, created_by: USER, reason: body.reason ?? '' };
        this.change({ mappings: [mapping], sticks: [{ ...this.find('sticks', body.stick), state: 'free' }] }, { mappings: gone });
        answer(200, { mapping });
      },
      'DELETE mappings': () => {
        const mapping = this.find('mappings', id), left = this.state.mappings.some((other) => other.stick === mapping.stick && other !== mapping);
        const leases = this.state.leases.filter((lease) => lease.stick === mapping.stick && lease.till === mapping.till).map((lease) => lease.id);
        this.change({ sticks: [{ ...this.find('sticks', mapping.stick), state: left ? 'free' : 'unmapped', lease: null }] }, { mappings: [mapping.id], leases });
        answer(200, {});
      },
      'PATCH mappings': () => {
        const mapping = this.find('mappings', id), others = this.state.mappings.filter((other) => other.stick === mapping.stick && other !== mapping && other.source !== 'file').sort((a, b) => a.position - b.position);
        others.splice(body.position - 1, 0, mapping);
        this.change({ mappings: others.map((other, at) => ({ ...other, position: at + 1 })) });
        answer(200, {});
      },
      'POST tills': () => {
        const till = verb ? id : body.name;
        if (!verb) this.change({ tills: [{ name: till, label: body.label ?? '', state: 'never_seen', address: '', last_seen: null, session: null, certificate: null, mappings: [] }] });
        answer(200, { till, line: 'tillbridge pair tb1:usb.example.net:4711/K7QZ-3M5T-2XPA-WD4R-6UHN-8SBE/9C4M-TR2K-WQ7X-HD5P', qr_text: 'tb1:…', qr_svg: qrPicture(), expires: new Date(Date.now() + 15 * 60 * 1000).toISOString() });
      },
      'POST pending': () => {
        const pending = this.find('pending', id);
        const tills = verb === 'approve' ? [{ name: body.name, label: '', state: 'connected', address: pending.address, last_seen: new Date().toISOString(), session: null, certificate: { days_left: 90 }, mappings: [] }] : [];
        this.change({ tills }, { pending: [pending.id] });
        answer(200, {});
      },
      'POST leases': () => { const lease = this.find('leases', id); this.change({ sticks: [{ ...this.find('sticks', lease.stick), state: body.block_minutes ? 'blocked' : 'free', lease: null }] }, { leases: [lease.id] }); answer(200, {}); },
      'PATCH sticks': () => { this.change({ sticks: [{ ...this.find('sticks', id), label: body.label }] }); answer(200, {}); },
      'POST sticks': () => answer(200, {}),
      'POST drain': () => { this.change({ server: { draining: body.on } }); answer(200, {}); },
    };
    const found = verbs[`${method} ${what}`];
    if (found) found();
    else refuse(404, 'unknown', 'There is no such address.');
  }
}

/** Looks like a QR code, and says nothing: the real one comes from the server. */
function qrPicture() {
  let squares = '', seed = 7;
  for (let y = 0; y < 29; ++y) {
    for (let x = 0; x < 29; ++x) {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      if ((seed >> 16) & 1) squares += `M${x} ${y}h1v1h-1z`;
    }
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 33 33"><path fill="#fff" d="M-2-2h33v33h-33z"/><path d="${squares}"/></svg>`;
}

export const login = { user: USER, password: PASSWORD };
