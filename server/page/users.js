// Who may look, and who may change things.
import { h } from './view.js';
import { icon } from './icons.js';
import { api } from './api.js';
import { t, tv } from './i18n.js';
import { field, foot, input, openDialog, reason, select } from './dialog.js';
import { askDialog } from './dialogs_map.js';
import { menuButton } from './menu.js';
import { name, timeElement, visible } from './format.js';
import { notify } from './notices.js';

const SHORTEST = 10; // characters of a password; the server's limit is the one that counts
const roles = () => ['viewer', 'admin'].map((role) => ({ value: role, label: `${t(`role.${role}`)} – ${t(`role.${role}.more`)}` }));

export const passwordField = (label, key, { hint = t('password.hint', { n: SHORTEST }), autocomplete = 'new-password', first = null } = {}) =>
  field(label, input({ name: key, type: 'password', autocomplete, required: true, maxlength: 1024, 'data-first': first }), { hint, key });

export class Users {
  constructor(redraw) { Object.assign(this, { redraw, users: null, error: null }); }

  async load() {
    try {
      const answer = await api.users();
      this.users = Array.isArray(answer) ? answer : answer.users;
      this.error = null;
    } catch (error) {
      this.error = error;
      this.users ??= [];
    }
    this.redraw();
  }

  async #change(work, done) { await work(); notify(done); this.load(); }

  #add() {
    openDialog((dialog) => ({
      title: t('user.add'),
      body: [field(t('user.name'), input({ name: 'name', required: true, maxlength: 64, autocomplete: 'off', 'data-first': true })),
             field(t('user.role'), select({ name: 'role', chosen: 'viewer' }, roles())), passwordField(t('password'), 'password'), reason()],
      actions: foot(dialog, t('user.add')), submit: (form) => this.#change(() => api.addUser(form), t('user.added', { user: visible(form.name) })),
    }));
  }

  #role(user) {
    openDialog((dialog) => ({
      title: t('user.role.change'), body: [h('p', name(user.name, 'strong')), field(t('user.role'), select({ name: 'role', chosen: user.role }, roles())), reason()],
      actions: foot(dialog, t('save')), submit: (form) => this.#change(() => api.changeUser(user.name, form), t('saved')),
    }));
  }

  password(user, own) {
    openDialog((dialog) => ({
      title: own ? t('password.own') : t('password.of', { user: visible(user.name) }), body: [passwordField(t('password.new'), 'password', { first: true }), !own && reason()],
      actions: foot(dialog, t('save')), submit: (form) => this.#change(() => api.changeUser(user.name, { reason: '', ...form }), t('password.changed')),
    }));
  }

  #remove(user) {
    askDialog({ title: t('user.remove.title', { user: visible(user.name) }), text: t('user.remove.text'), action: t('user.remove'), danger: true,
                run: (why) => this.#change(() => api.removeUser(user.name, why), t('user.removed', { user: visible(user.name) })) });
  }

  draw(store, me) {
    const mayChange = me.role === 'admin';
    const menu = (user) => () => [
      { label: t('user.role.change'), icon: 'user', run: () => this.#role(user) },
      { label: t('password.new'), icon: 'lock', run: () => this.password(user, user.name === me.user) },
      null, { label: t('user.remove'), icon: 'close', danger: true, disabled: user.name === me.user, title: user.name === me.user ? t('user.remove.self') : null, run: () => this.#remove(user) }];
    return h('section.panel.users-panel', { 'aria-labelledby': 'users-title' },
      h('div.panel-head', h('h1', { id: 'users-title' }, t('users')), h('p.muted', t('users.text')), mayChange && h('button.primary.small', { type: 'button', onclick: () => this.#add() }, icon('plus'), h('span', t('user.add')))),
      this.error && h('div.problem', { role: 'alert' }, icon('error'), h('div', h('p', visible(this.error.message)), this.error.remedy && h('p.muted', visible(this.error.remedy)))),
      this.users === null ? h('p.empty.muted', t('loading')) : h('ul.users', this.users.map((user) => h('li.user', { key: user.name },
        icon('user'), h('div.user-words', h('p', name(user.name, 'strong'), user.name === me.user && h('span.tag', t('user.you'))), h('p.muted', t(`role.${user.role}`), ' · ', user.last_login ? tv('user.last_login', { time: timeElement(user.last_login) }) : t('user.never'))),
        mayChange && menuButton({ label: t('menu.of', { name: visible(user.name) }), items: menu(user) })))),
      h('p.help', t('users.socket')));
  }
}
