// Mapping a stick to a till, and ending or blocking its use.
import { h } from './view.js';
import { icon } from './icons.js';
import { api } from './api.js';
import { field, foot, input, openDialog, reason, select } from './dialog.js';
import { notify } from './notices.js';
import { t, tv } from './i18n.js';
import { name, short, stickName, tillName, visible } from './format.js';
import { isOnline, leaseOf, leasesOfTill, mappingsOf, mappingsOfTill, sticksInOrder, tillsInOrder } from './model.js';

const stickOption = (store) => (stick) => ({ value: stick.id, label: `${short(stickName(stick))}${stick.serial && stickName(stick) !== stick.serial ? ` · ${visible(stick.serial)}` : ''} – ${t(`stick.${stick.state}`)}${mappingsOf(store, stick).length ? ` → ${visible(mappingsOf(store, stick).map((mapping) => mapping.till).join(', '))}` : ''}` });

export const stickChoice = (store, { chosen = '', none = null, props = {} } = {}) =>
  select({ name: 'stick', chosen, ...props }, [...(none ? [{ value: '', label: none }] : []), ...sticksInOrder(store).map(stickOption(store))]);
export const tillChoice = (store, { chosen = '', props = {} } = {}) =>
  select({ name: 'till', chosen, ...props }, tillsInOrder(store).filter((till) => till.state !== 'revoked').map((till) => ({ value: till.name, label: `${visible(tillName(till))} – ${t(`till.${till.state}`)}` })));

/** What is known already is chosen; the rest is asked. */
export function mapDialog(store, { stick = null, till = null } = {}) {
  let chosenStick = stick ?? sticksInOrder(store).find((one) => one.state === 'unmapped')?.id ?? sticksInOrder(store)[0]?.id ?? '';
  let more = false;
  // Most likely meant: a till that is there and has nothing yet.
  const candidates = tillsInOrder(store).filter((one) => one.state !== 'revoked');
  const likely = (candidates.find((one) => isOnline(one) && !mappingsOfTill(store, one).length) ?? candidates.find((one) => !mappingsOfTill(store, one).length)
                  ?? candidates.find((one) => !leasesOfTill(store, one).length) ?? candidates[0])?.name;
  openDialog((dialog) => {
    const known = store.sticks.get(chosenStick), before = known ? mappingsOf(store, known) : [], own = before.filter((mapping) => mapping.source !== 'file');
    const lease = known && leaseOf(store, known), possible = store.sticks.size > 0 && store.tills.size > 0;
    return {
      title: t('map.title'),
      body: [
        !possible && h('p', t(store.sticks.size ? 'map.no_till' : 'map.no_stick')),
        possible && field(t('stick'), stickChoice(store, { chosen: chosenStick, props: { 'data-first': stick ? null : true, onchange: (event) => { chosenStick = event.target.value; dialog.redraw(); } } })),
        possible && field(t('till'), tillChoice(store, { chosen: till ?? likely, props: { 'data-first': stick ? true : null } })),
        before.length > 0 && h('fieldset', { key: 'order' }, h('legend', t('map.before', { n: before.length })),
          h('ol.order', before.map((mapping) => h('li', { key: mapping.id }, name(mapping.till), mapping.source === 'file' && h('span.tag', icon('lock'), t('mapping.file')), lease?.till === mapping.till && h('span.tag', t('map.in_use'))))),
          own.length > 0 && [h('label.radio', h('input', { type: 'radio', name: 'how', value: 'instead', checked: true }), h('span', h('span.strong', t('map.instead', { n: own.length })), h('span.hint', t('map.instead.hint')))),
            h('label.radio', h('input', { type: 'radio', name: 'how', value: 'first' }), h('span', h('span.strong', t('map.first')), h('span.hint', t('map.first.hint')))),
            h('label.radio', h('input', { type: 'radio', name: 'how', value: 'last' }), h('span', h('span.strong', t('map.last')), h('span.hint', t('map.last.hint'))))]),
        lease && h('p.remark', { key: 'lease' }, icon('info'), h('span', tv('map.lease', { till: name(lease.till) }))),
        possible && h('details', { key: 'more', open: more, ontoggle: (event) => { more = event.target.open; } }, h('summary', t('map.conditions')),
          field(t('map.user'), input({ name: 'user', maxlength: 256 }), { hint: t('map.user.hint') }),
          field(t('map.server'), input({ name: 'terminal_server', maxlength: 256 }), { hint: t('map.server.hint') }),
          field(t('map.reset'), select({ name: 'reset', chosen: 'soften' }, ['soften', 'refuse', 'pass'].map((value) => ({ value, label: t(`map.reset.${value}`) })))),
          field(t('map.pipeline'), select({ name: 'pipeline', chosen: 'on' }, ['on', 'off'].map((value) => ({ value, label: t(`map.pipeline.${value}`) }))))),
        possible && reason(),
      ],
      actions: foot(dialog, t('map.do'), { disabled: !possible }),
      submit: async (form) => {
        const also = form.how === 'first' || form.how === 'last';
        await api.map({ stick: form.stick, till: form.till, user: form.user, terminal_server: form.terminal_server, also: also || own.length === 0,
                        ...(form.how === 'first' ? { position: 1 } : {}), reset: form.reset, pipeline: form.pipeline !== 'off', reason: form.reason });
        notify(t('map.done', { stick: short(stickName(store.sticks.get(form.stick) ?? { id: form.stick })), till: short(form.till) }));
      },
    };
  });
}

const minutes = () => select({ name: 'minutes', chosen: '0' }, [0, 5, 15, 60, 480].map((n) => ({ value: String(n), label: n ? t('minutes', { n }) : t('end.no_block') })));

export function endLeaseDialog(store, lease) {
  const stick = store.sticks.get(lease.stick) ?? { id: lease.stick };
  openDialog((dialog) => ({
    title: t('end.title'),
    body: [h('p', tv('end.text', { stick: name(stickName(stick), 'strong'), till: name(lease.till, 'strong') })),
           field(t('end.block'), minutes(), { hint: t('end.block.hint') }), reason()],
    actions: foot(dialog, t('end.do'), { danger: true }),
    submit: async (form) => {
      await api.endLease(lease.id, Number(form.minutes), form.reason);
      notify(t('end.done', { stick: short(stickName(stick)), till: short(lease.till) }));
    },
  }));
}

export function blockDialog(stick) {
  openDialog((dialog) => ({
    title: t('block.title', { stick: short(stickName(stick)) }),
    body: [h('p', t('block.text')),
           field(t('block.time'), select({ name: 'minutes', chosen: '15' }, [...[5, 15, 60, 480].map((n) => ({ value: String(n), label: t('minutes', { n }) })), { value: '0', label: t('block.forever') }])), reason()],
    actions: foot(dialog, t('block.do'), { danger: true }),
    submit: async (form) => { await api.block(stick.id, Number(form.minutes) || undefined, form.reason); notify(t('block.done', { stick: short(stickName(stick)) })); },
  }));
}

/** A question with a reason; `run` gets the reason. */
export function askDialog({ title, text, action, danger = false, run, done = null, more = null }) {
  openDialog((dialog) => ({
    title, body: [h('p', text), more, reason()], actions: foot(dialog, action, { danger }),
    submit: async (form) => { await run(form.reason, form); if (done) notify(done); },
  }));
}

/** One line of text, and a reason. */
export function renameDialog({ title, label, hint, value, run }) {
  openDialog((dialog) => ({
    title, body: [field(label, input({ name: 'label', value, maxlength: 128, 'data-first': true }), { hint }), reason()],
    actions: foot(dialog, t('save')), submit: (form) => run(form.label, form.reason),
  }));
}
