// Tills: adding one with a line to type there, approving one that asked, and all that is known of one.
import { h } from './view.js';
import { icon } from './icons.js';
import { api } from './api.js';
import { field, foot, input, openDialog, reason } from './dialog.js';
import { stickChoice } from './dialogs_map.js';
import { announce, notify } from './notices.js';
import { t, tv } from './i18n.js';
import { duration, fullTime, latency, name, sessionText, stickName, timeElement, visible } from './format.js';
import { isOnline, leasesOfTill, mappingsOfTill } from './model.js';

const pad = (n) => String(n).padStart(2, '0');

function copyButton(text) {
  return h('button.quiet', { type: 'button', onclick: async function () {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // without HTTPS or permission: at least it is marked, and Ctrl-C takes it
      const range = document.createRange();
      range.selectNodeContents(this.closest('.command').querySelector('code'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      return;
    }
    announce(t('copied'));
    this.dataset.done = '';
    setTimeout(() => delete this.dataset.done, 2000);
  } }, icon('copy'), h('span', t('copy')));
}

/** The line for the till, its QR code and what time is left of it; closes its clock with the dialog. */
function showLine(store, answer) {
  const { till, line } = answer, expires = new Date(answer.expires).getTime(), began = Date.now();
  const before = store.tills.get(till)?.certificate?.fingerprint;
  const clock = setInterval(() => dialog.redraw(), 1000);
  const dialog = openDialog(() => {
    const left = Math.max(0, Math.round((expires - Date.now()) / 1000)), known = store.tills.get(till);
    const here = known && (isOnline(known) || (known.certificate?.fingerprint && known.certificate.fingerprint !== before));
    // An SVG as an image can neither run scripts nor load anything.
    const qr = answer.qr_svg && `data:image/svg+xml;utf8,${encodeURIComponent(answer.qr_svg)}`;
    return {
      wide: true, title: tv('line.title', { till: name(till) }),
      body: here
        ? h('div.joined', icon('good'), h('p.strong', tv('line.here', { till: name(till) })), h('p.muted', t('line.here.more')))
        : [h('p', t('line.text')),
           h('div.line-and-qr',
             h('div', h('div.command', h('code', { tabindex: '0', 'aria-label': t('line.command') }, line), copyButton(line)),
               h('div.countdown', { role: 'timer', 'aria-label': t('line.left', { time: `${Math.floor(left / 60)}:${pad(left % 60)}` }) },
                 h('progress', { max: Math.max(1, Math.round((expires - began) / 1000)), value: left, 'aria-hidden': 'true' }),
                 left > 0 ? h('span', tv('line.left', { time: h('span.figure', `${Math.floor(left / 60)}:${pad(left % 60)}`) })) : h('span.warn', icon('warning'), t('line.expired'))),
               h('p.waiting', { role: 'status' }, h('span.pulse'), t('line.waiting'))),
             qr && h('figure.qr', h('img', { src: qr, alt: t('line.qr'), width: 176, height: 176 }), h('figcaption.muted', t('line.qr.hint'))))],
      actions: [!here && left === 0 && h('button.quiet', { type: 'button', key: 'again', onclick: () => dialog.run(async () => { const again = await api.newToken(till, ''); dialog.close(); showLine(store, again); }) }, t('line.again')),
                h('button.primary', { type: 'button', key: 'done', onclick: () => dialog.close() }, t('done'))],
    };
  }, { onclose: () => clearInterval(clock) });
}

export function addTillDialog(store, { stick = '' } = {}) {
  openDialog((dialog) => ({
    title: t('till.add.title'),
    body: [h('p.muted', t('till.add.text')),
           field(t('till.name'), input({ name: 'name', required: true, maxlength: 64, placeholder: t('till.name.example'), 'data-first': true }), { hint: t('till.name.hint') }),
           field(t('till.label'), input({ name: 'label', maxlength: 128, placeholder: t('till.label.example') })),
           field(t('till.add.stick'), stickChoice(store, { chosen: stick, none: t('till.add.no_stick') })), reason()],
    actions: foot(dialog, t('till.add.do')),
    submit: async (form) => {
      const answer = await api.addTill(form);
      dialog.close();
      showLine(store, answer);
    },
  }));
}

export function newTokenDialog(store, till) {
  openDialog((dialog) => ({
    title: t('token.title', { till: visible(till) }), body: [h('p', t('token.text')), reason()], actions: foot(dialog, t('token.do')),
    submit: async (form) => { const answer = await api.newToken(till, form.reason); dialog.close(); showLine(store, { till, ...answer }); },
  }));
}

export function approveDialog(store, pending) {
  openDialog((dialog) => ({
    title: t('approve.title'),
    body: [h('p', t('approve.text')),
           h('p.words.large', { 'aria-label': t('pending.words') }, String(pending.words ?? '').split(/[\s-]+/).filter(Boolean).map((word) => h('span.word', visible(word)))),
           h('p.muted', tv('approve.from', { name: name(pending.name), address: name(pending.address, 'mono') })),
           field(t('till.name'), input({ name: 'name', value: pending.name, required: true, maxlength: 64, 'data-first': true }), { hint: t('till.name.hint') }),
           field(t('till.add.stick'), stickChoice(store, { none: t('till.add.no_stick') })), reason()],
    actions: foot(dialog, t('approve.do')),
    submit: async (form) => { await api.approve(pending.id, form); notify(t('approve.done', { till: visible(form.name) })); },
  }));
}

const row = (label, content) => content === null || content === undefined || content === '' ? null : [h('dt', label), h('dd', content)];

/** How long it was in each state; the one of now goes on from `state_since`. */
function times(till) {
  if (!till.seconds_in) return null;
  const now = Math.max(0, (Date.now() - new Date(till.state_since)) / 1000);
  const spent = Object.entries(till.seconds_in).map(([state, seconds]) => [state, seconds + (state === till.state ? now : 0)]).filter(([, seconds]) => seconds > 0);
  return spent.length === 0 ? null : h('ul.plain', spent.map(([state, seconds]) => h('li', { key: state }, `${t(`till.${state}`)}: ${duration(seconds)}`)));
}

/** All that is known of a till. */
export function tillDialog(store, tillName, context) {
  openDialog((dialog) => {
    const till = store.tills.get(tillName);
    if (!till) { queueMicrotask(() => dialog.close()); return { title: tillName, body: null, actions: null }; }
    const certificate = till.certificate, session = till.session, leases = leasesOfTill(store, till), mapped = mappingsOfTill(store, till);
    const title = [name(till.name), till.label && [' ', name(till.label, 'muted')]];
    return {
      title,
      body: h('dl.facts-list',
        row(t('till.state'), h(`span.state.state-${till.state}`, icon(till.state), h('span', t(`till.${till.state}`)))),
        row(t('till.sticks'), mapped.length ? h('ul.plain', mapped.map((mapping) => h('li', { key: mapping.id }, name(stickName(store.sticks.get(mapping.stick) ?? { id: mapping.stick })), leases.some((lease) => lease.stick === mapping.stick) && h('span.tag', t('map.in_use')), mapping.source === 'file' && h('span.tag', icon('lock'), t('mapping.file'))))) : t('till.no_stick')),
        row(t('till.times'), times(till)),
        session && row(t('session'), [name(sessionText(session)), session.client_name && h('span.muted', ' · ', name(session.client_name))]),
        session?.software && row(t('till.software'), name(session.software)),
        row(t('till.address'), till.address && name(till.address, 'mono')),
        row(t('till.rtt'), till.rtt_us ? latency(till.rtt_us) : null),
        row(t('till.last_seen'), till.last_seen && timeElement(till.last_seen)),
        certificate && row(t('certificate'), [certificate.revoked ? t('certificate.revoked') : h('span', { title: fullTime(certificate.not_after) }, t('certificate.days', { n: Math.max(0, Math.floor(certificate.days_left ?? 0)) })),
          certificate.fingerprint && h('p.mono.small.muted.breaks', certificate.fingerprint)]),
        row(t('till.note'), till.note && name(till.note))),
      actions: [context.mayChange && h('button.quiet', { type: 'button', key: 'map', onclick: () => { dialog.close(); context.actions.map({ till: till.name }); } }, t('map')),
                h('button.primary', { type: 'button', key: 'close', onclick: () => dialog.close() }, t('close'))],
    };
  });
}
