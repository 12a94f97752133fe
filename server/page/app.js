// The page: who is logged in, what is looked at, and when it is drawn again.
import { h, patch } from './view.js';
import { icon } from './icons.js';
import { api, whenLoggedOut } from './api.js';
import { chooseLanguage, language, setLanguage, t } from './i18n.js';
import { Store } from './store.js';
import { actionsOf, menusOf } from './actions.js';
import { Audit } from './audit.js';
import { Users } from './users.js';
import { Login } from './login.js';
import { closeDialogs, redrawDialogs } from './dialog.js';
import { closeMenu, menuButton } from './menu.js';
import { headline, needs } from './model.js';
import { overview } from './overview.js';
import { focusRow, tree } from './tree.js';
import { tills } from './tills.js';
import { log } from './log.js';
import { name, time, visible } from './format.js';
import { announce, notifyError } from './notices.js';

const root = document.getElementById('app');
const EARLIER = 30; // events of before that are shown at first
let me = null, started = false, scheduled = false;

function redraw() {
  if (scheduled) return;
  scheduled = true;
  // Not only when frames are drawn: the title tells of trouble while the page is in the background.
  (document.hidden ? setTimeout : requestAnimationFrame)(draw);
}

const store = new Store(redraw);
const ui = {
  search: '', filter: 'all', tillSearch: '', warningsOnly: false, expanded: new Map(), current: null, focus: false, redraw,
  toggle(id) {
    const few = store.sticks.size <= 4;
    ui.expanded.set(id, !(ui.expanded.get(id) ?? few));
    redraw();
  },
};
const audit = new Audit(redraw), users = new Users(redraw);
const login = new Login(redraw, begin);
const context = { get mayChange() { return me?.role === 'admin'; } };
context.actions = actionsOf(store, ui, context);
context.menus = menusOf(store, context);

const allViews = { '': 'view.overview', audit: 'view.audit', users: 'view.users' };
// A viewer is told nothing of the other accounts.
const views = () => Object.entries(allViews).filter(([hash]) => hash !== 'users' || context.mayChange);
const view = () => { const wanted = location.hash.replace(/^#\/?/, ''); return views().some(([hash]) => hash === wanted) ? wanted : ''; };

// ---- light and dark

const themes = ['system', 'light', 'dark'];
const theme = () => { try { return localStorage.getItem('tillbridge.theme') ?? 'system'; } catch { return document.documentElement.dataset.theme ?? 'system'; } };
function setTheme(wanted) {
  try { localStorage.setItem('tillbridge.theme', wanted); } catch { /* for this time only */ }
  if (wanted === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
  redraw();
}

// ---- logging in and out

// Who never logged in here need not ask who he is, which the server would answer with an error.
const KNOWN = 'tillbridge.known';
const isKnown = () => { try { return localStorage.getItem(KNOWN) !== null; } catch { return true; } };
function know(on) { try { if (on) localStorage.setItem(KNOWN, 'yes'); else localStorage.removeItem(KNOWN); } catch { /* it is asked then */ } }

async function begin() {
  me = await api.me();
  know(true);
  store.start();
  // So that the list of events begins with what happened last; without it the page is as good.
  api.audit({ limit: EARLIER }).then((answer) => { if (me) store.remember(answer.entries); }, () => {});
  entered();
  redraw();
}

function end(asked) {
  if (!me) return;
  me = null;
  know(false);
  login.ended = !asked;
  store.stop();
  store.clear();
  store.log = [];
  closeDialogs();
  closeMenu(false);
  redraw();
}
whenLoggedOut(() => end(false));

async function logout() {
  try {
    await api.logout();
    end(true);
  } catch (error) {
    notifyError(error);
  }
}

function entered() {
  if (!me) return;
  if (view() === 'audit') audit.load();
  if (view() === 'users') users.load();
}

addEventListener('hashchange', () => {
  entered();
  redraw();
  scrollTo(0, 0);
});

// ---- what is drawn

function settings() {
  return [
    menuButton({ label: `${t('language')}: ${language().toUpperCase()}`, classes: 'icon-button language', content: h('span', language().toUpperCase()), items: () => [['de', 'Deutsch'], ['en', 'English']].map(([code, label]) => ({ label, checked: language() === code, run: () => { setLanguage(code); redraw(); redrawDialogs(); } })) }),
    menuButton({ label: t('theme'), content: icon({ system: 'system', light: 'sun', dark: 'moon' }[theme()] ?? 'system'), items: () => themes.map((one) => ({ label: t(`theme.${one}`), checked: theme() === one, run: () => setTheme(one) })) }),
  ];
}

const connection = () => {
  const lost = store.connection === 'lost', state = store.connection;
  return h('span', { class: `connection ${state}`, title: t(`connection.${state}.more`) }, h('span.beacon', { 'aria-hidden': 'true' }), h('span', t(`connection.${state}`)),
           lost && store.lastHeard ? h('span.muted', ` ${t('connection.as_of', { time: time(store.lastHeard, { seconds: true }) })}`) : null);
};

function header() {
  return h('header.top', { key: 'top' },
    h('a.brand', { href: '#/', title: t('brand') }, icon('mark'), h('span.brand-name', 'tillbridge'), store.server && name(store.server.name, 'brand-server')),
    h('nav.views', { 'aria-label': t('views') }, views().map(([hash, key]) => h('a', { key, href: `#/${hash}`, 'aria-current': view() === hash ? 'page' : null }, t(key)))),
    connection(),
    h('div.tools', settings(),
      menuButton({ label: t('account', { user: visible(me.user) }), content: icon('user'), items: () => [
        { label: t('account.who', { user: visible(me.user), role: t(`role.${me.role}`) }), icon: 'user', disabled: true },
        me.role === 'admin' && { label: t('password.own'), icon: 'lock', run: () => users.password({ name: me.user }, true) },
        context.mayChange && { label: t(store.server?.draining ? 'drain.end' : 'drain.begin'), icon: 'wrench', run: () => context.actions.drain(!store.server?.draining) },
        null, { label: t('logout'), icon: 'open', run: logout }] })));
}

function content() {
  if (!store.loaded) return h('main.loading', { key: 'loading', id: 'main', tabindex: '-1' }, h('p.muted', t(store.connection === 'lost' ? 'connection.lost.more' : 'loading')));
  if (view() === 'audit') return h('main.single', { key: 'audit', id: 'main', tabindex: '-1' }, audit.draw(store));
  if (view() === 'users') return h('main.single', { key: 'users', id: 'main', tabindex: '-1' }, users.draw(store, me));
  return h('main.overview', { key: 'overview', id: 'main', tabindex: '-1' },
    overview(store, context),
    h('div.columns', tree(store, ui, context), h('aside.rail', { 'aria-label': t('rail') }, tills(store, ui, context), log(store, ui))));
}

let told = null; // the connection's state that was read out last

function draw() {
  scheduled = false;
  if (!started) return;
  if (!me) {
    document.title = `${t('login.do')} · tillbridge`;
    patch(root, [login.draw(h('div.login-tools', settings()))]);
    return;
  }
  const lost = store.connection === 'lost';
  patch(root, [
    h('a.skip', { key: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); document.getElementById('main').focus(); } }, t('skip')),
    header(),
    lost && h('div.lost-notice', { key: 'lost', role: 'alert' }, icon('lost'), h('p', h('span.strong', t('connection.lost.title')), ' ', t('connection.lost.more'))),
    content()].filter(Boolean));
  document.documentElement.classList.toggle('is-lost', lost);
  focusRow(ui);
  redrawDialogs();
  if (store.loaded) {
    const list = needs(store);
    document.title = `${list.length ? `(${list.length}) ` : ''}${headline(store, list).text} · ${visible(store.server?.name ?? 'tillbridge')}`;
  }
  if (told === 'lost' && store.connection === 'live') announce(t('connection.back'));
  told = store.connection;
}

chooseLanguage();
setTheme(theme());
setInterval(() => { if (me) redraw(); }, 15000); // ages and times go on by themselves
try {
  if (!login.token && isKnown()) await begin();
} catch (error) {
  if (error.status === 401) know(false);
  else login.error = error;
}
started = true;
redraw();
