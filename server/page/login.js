// Logging in, by password or for the first time with a one-time link.
import { h } from './view.js';
import { icon } from './icons.js';
import { api } from './api.js';
import { t } from './i18n.js';
import { field, input, values } from './dialog.js';
import { passwordField } from './users.js';
import { visible } from './format.js';

/** The token of a one-time link. It stands in the fragment, which stays in the browser, and goes from the address bar at once. */
export function takeToken() {
  const found = /^#once=([\w.~-]{1,200})$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, '', location.pathname);
  return found[1];
}

export class Login {
  constructor(redraw, done) { Object.assign(this, { redraw, done, token: takeToken(), error: null, busy: false, ended: false }); }

  async #submit(form) {
    const { user, password, again } = values({ querySelector: () => form });
    this.error = null;
    if (this.token && again !== password) { this.error = { message: t('login.differ') }; this.redraw(); return; }
    this.busy = true;
    this.redraw();
    try {
      if (this.token) await api.loginOnce(this.token, user, password);
      else await api.login(user, password);
      this.token = null;
      await this.done();
    } catch (error) {
      this.error = error;
    }
    this.busy = false;
    this.redraw();
  }

  draw(tools) {
    const once = Boolean(this.token);
    return h('main.login', { key: 'login', id: 'main' },
      h('form.login-card', { key: once ? 'once' : 'password', novalidate: true, onsubmit: (event) => { event.preventDefault(); if (!this.busy) this.#submit(event.target); } },
        h('div.login-mark', icon('mark')),
        h('h1', t(once ? 'login.first' : 'login.title')),
        h('p.muted', t(once ? 'login.first.text' : this.ended ? 'login.ended' : 'login.text')),
        field(t('user.name'), input({ name: 'user', autocomplete: 'username', autocapitalize: 'off', required: true, maxlength: 64, ref: (node) => setTimeout(() => node.focus()) })),
        passwordField(t('password'), 'password', once ? {} : { hint: null, autocomplete: 'current-password' }),
        once && passwordField(t('login.again'), 'again', { hint: null }),
        this.error && h('div.problem', { role: 'alert' }, icon('error'), h('div', h('p', visible(this.error.message)), this.error.remedy && h('p.muted', visible(this.error.remedy)))),
        h('button.primary.wide', { type: 'submit', disabled: this.busy }, t(once ? 'login.first.do' : 'login.do')),
        once ? h('button.quiet.wide', { type: 'button', onclick: () => { this.token = null; this.error = null; this.redraw(); } }, t('login.have_account'))
             : h('details', h('summary', t('login.forgot')), h('p.muted', t('login.forgot.text')), h('code.block', 'sudo tillbridge login-link'))),
      tools);
  }
}
