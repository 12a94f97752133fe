// What a person can do with a stick, a till, a mapping or a lease, from wherever it is asked for.
import { api } from './api.js';
import { t } from './i18n.js';
import { short, stickName, visible } from './format.js';
import { isReleased, leaseOf, mappingsOf } from './model.js';
import { askDialog, blockDialog, endLeaseDialog, mapDialog, renameDialog } from './dialogs_map.js';
import { addTillDialog, approveDialog, newTokenDialog, tillDialog } from './dialogs_till.js';
import { notify, notifyError } from './notices.js';

export function actionsOf(store, ui, context) {
  const known = (stick) => store.sticks.get(stick) ?? { id: stick };
  const quietly = async (work, done) => {
    try { await work(); if (done) notify(done); } catch (error) { notifyError(error); }
  };
  const actions = {
    map: (chosen) => mapDialog(store, chosen),
    /** A drop says it all if nobody has the stick yet, and can be taken back; else it is asked what is meant. */
    async drop({ stick, till }) {
      const before = mappingsOf(store, known(stick));
      if (before.some((mapping) => mapping.till === till && !mapping.user && !mapping.terminal_server)) { notify(t('map.already')); return; }
      if (before.length) { mapDialog(store, { stick, till }); return; }
      try {
        const made = await api.map({ stick, till, reason: t('map.dragged') });
        const mapping = made?.mapping ?? made;
        notify(t('map.done', { stick: short(stickName(known(stick))), till: short(till) }),
               mapping?.id !== undefined && { label: t('undo'), run: () => quietly(() => api.unmap(mapping.id, t('undo')), t('map.undone')) });
      } catch (error) {
        notifyError(error);
      }
    },
    unmap: (mapping) => askDialog({ title: t('unmap.title'), text: t('unmap.text', { stick: short(stickName(known(mapping.stick))), till: short(mapping.till) }),
      action: t('unmap'), danger: true, done: t('unmap.done', { stick: short(stickName(known(mapping.stick))), till: short(mapping.till) }), run: (why) => api.unmap(mapping.id, why) }),
    /** To this place among the admin's mappings of its stick, from 1. */
    move: (mapping, position) => quietly(() => api.changeMapping(mapping.id, { position, reason: '' }), t('mapping.moved')),
    endLease: (lease) => endLeaseDialog(store, lease),
    block: (stick) => blockDialog(stick),
    unblock: (stick) => quietly(() => api.unblock(stick.id, ''), t('unblock.done', { stick: short(stickName(stick)) })),
    giveBack: (stick) => quietly(() => api.unblock(stick.id, ''), t('give_back.done', { stick: short(stickName(stick)) })),
    accept: (stick) => askDialog({ title: t('accept.title', { stick: short(stickName(stick)) }), text: t('accept.text'), action: t('stick.accept'), danger: true,
      done: t('accept.done', { stick: short(stickName(stick)) }), run: (why) => api.accept(stick.id, why) }),
    async identify(stick) {
      try { notify(visible((await api.identify(stick.id)).text ?? '')); } catch (error) { notifyError(error); }
    },
    label: (stick) => renameDialog({ title: t('stick.label'), label: t('stick.label.field'), hint: t('stick.label.hint'), value: stick.label ?? '', run: (label, why) => api.changeStick(stick.id, { label, reason: why }) }),
    forget: (stick) => askDialog({ title: t('forget.title', { stick: short(stickName(stick)) }), text: t('forget.text'), action: t('forget'), danger: true, run: (why) => api.forget(stick.id, why) }),

    addTill: (chosen) => addTillDialog(store, chosen),
    showTill: (till) => tillDialog(store, till, context),
    newToken: (till) => newTokenDialog(store, till),
    labelTill: (till) => renameDialog({ title: t('till.label.title'), label: t('till.label'), value: till.label ?? '', run: (label, why) => api.changeTill(till.name, { label, reason: why }) }),
    revoke: (till) => askDialog({ title: t('revoke.title', { till: short(till.name) }), text: t('revoke.text'), action: t('revoke'), danger: true, done: t('revoke.done', { till: short(till.name) }), run: (why) => api.revokeTill(till.name, why) }),
    remove: (till) => askDialog({ title: t('remove.title', { till: short(till.name) }), text: t('remove.text'), action: t('remove'), danger: true, done: t('remove.done', { till: short(till.name) }), run: (why) => api.removeTill(till.name, why) }),
    approve: (pending) => approveDialog(store, pending),
    ignore: (pending) => askDialog({ title: t('ignore.title', { till: short(pending.name) }), text: t('ignore.text'), action: t('pending.ignore'), run: (why) => api.ignore(pending.id, why) }),

    drain: (on) => on
      ? askDialog({ title: t('drain.title'), text: t('drain.text'), action: t('drain.begin'), run: (why) => api.drain(true, why) })
      : quietly(() => api.drain(false, ''), t('drain.ended')),
    /** Brings a stick into view, unfolded. */
    show(stick) {
      Object.assign(ui, { filter: 'all', search: '', current: `stick ${stick}`, focus: true });
      ui.expanded.set(stick, true);
      ui.redraw();
    },
  };
  return actions;
}

export function menusOf(store, context) {
  const { actions } = context;
  const items = (list) => list.filter((item) => item !== false);
  const menus = {
    stick(stick) {
      const lease = leaseOf(store, stick), may = context.mayChange, blocked = stick.state === 'blocked';
      return items([
        may && { label: t('map.menu'), icon: 'till', run: () => actions.map({ stick: stick.id }) },
        may && lease && { label: t('lease.end.menu'), icon: 'close', run: () => actions.endLease(lease) },
        may && mappingsOf(store, stick).filter((mapping) => mapping.source !== 'file').length === 1 && { label: t('unmap'), icon: 'lost', run: () => actions.unmap(mappingsOf(store, stick).find((mapping) => mapping.source !== 'file')) },
        may && null,
        may && isReleased(store, stick) && { label: t('give_back'), icon: 'check', run: () => actions.giveBack(stick) },
        may && stick.state === 'refused' && { label: t('stick.accept.menu'), icon: 'check', run: () => actions.accept(stick) },
        may && (blocked ? { label: t('unblock'), icon: 'check', run: () => actions.unblock(stick) } : { label: t('block.menu'), icon: 'blocked', run: () => actions.block(stick) }),
        may && { label: t('identify'), icon: 'sun', disabled: Boolean(lease) || !stick.present, title: lease ? t('identify.in_use') : null, run: () => actions.identify(stick) },
        may && { label: t('stick.label'), icon: 'info', run: () => actions.label(stick) },
        may && null,
        { label: t('export.stick'), icon: 'download', href: api.exportAddress({ stick: stick.id }) },
        may && { label: t('capture'), icon: 'download', href: api.captureAddress(stick.id), title: t('capture.title') },
        may && stick.state === 'absent' && null,
        may && stick.state === 'absent' && { label: t('forget'), icon: 'close', danger: true, run: () => actions.forget(stick) }]);
    },
    mapping(mapping, all) {
      const own = all.filter((other) => other.source !== 'file'), at = own.findIndex((other) => other.id === mapping.id), fixed = mapping.source === 'file';
      const till = store.tills.get(mapping.till);
      return items([
        till && { label: t('till.details'), icon: 'info', run: () => actions.showTill(till.name) },
        context.mayChange && own.length > 1 && !fixed && { label: t('mapping.up'), icon: 'open', disabled: at <= 0, run: () => actions.move(mapping, at) },
        context.mayChange && own.length > 1 && !fixed && { label: t('mapping.down'), icon: 'open', disabled: at === own.length - 1, run: () => actions.move(mapping, at + 2) },
        context.mayChange && null,
        context.mayChange && { label: t('unmap'), icon: 'lost', danger: true, disabled: fixed, title: fixed ? t('mapping.file.title') : null, run: () => actions.unmap(mapping) }]);
    },
    lease: (lease) => items([
      store.tills.has(lease.till) && { label: t('till.details'), icon: 'info', run: () => actions.showTill(lease.till) },
      context.mayChange && { label: t('lease.end.menu'), icon: 'close', danger: true, run: () => actions.endLease(lease) }]),
    till(till) {
      const may = context.mayChange, revoked = till.state === 'revoked';
      return items([
        { label: t('till.details'), icon: 'info', run: () => actions.showTill(till.name) },
        may && !revoked && { label: t('map.menu.till'), icon: 'stick', run: () => actions.map({ till: till.name }) },
        may && { label: t('till.label.title'), icon: 'till', run: () => actions.labelTill(till) },
        may && { label: t('token.menu'), icon: 'plus', run: () => actions.newToken(till.name) },
        may && null,
        may && !revoked && { label: t('revoke'), icon: 'revoked', danger: true, run: () => actions.revoke(till) },
        may && { label: t('remove'), icon: 'close', danger: true, run: () => actions.remove(till) }]);
    },
    server: () => items([
      context.mayChange && { label: t('till.add'), icon: 'plus', run: () => actions.addTill() },
      context.mayChange && { label: t(store.server?.draining ? 'drain.end' : 'drain.begin'), icon: 'wrench', run: () => actions.drain(!store.server?.draining) }]),
  };
  return menus;
}
