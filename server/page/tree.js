// The tree: site, server, stick, till, session. One line for each stick says it all; the rest unfolds.
import { h } from './view.js';
import { icon } from './icons.js';
import { has, language, t, tv } from './i18n.js';
import { age, bytes, latency, name, number, sessionText, stickName, time, timeElement, visible } from './format.js';
import { isReleased, isUrgent, leaseOf, mappingsOf, sticksInOrder } from './model.js';
import { sparkline } from './sparkline.js';
import { draggable } from './drag.js';
import { menuButton } from './menu.js';

const FEW = 4, MANY = 24; // sticks: so few are unfolded from the start, so many are shown on one line each

export const filters = {
  all: () => true,
  need: isUrgent,
  in_use: (stick) => stick.state === 'in_use' || stick.state === 'waiting',
  free: (stick) => stick.state === 'free' || stick.state === 'offered',
  unmapped: (stick) => stick.state === 'unmapped',
  absent: (stick) => stick.state === 'absent',
};

function matches(store, stick, words) {
  if (!words.length) return true;
  const lease = leaseOf(store, stick);
  const text = [stick.id, stick.label, stick.product, stick.family, stick.port, sessionText(lease?.session),
                ...mappingsOf(store, stick).flatMap((mapping) => [mapping.till, store.tills.get(mapping.till)?.label])].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}

const state = (what) => h(`span.state.state-${what}`, icon(what), h('span', t(`stick.${what}`)));

/** What a stick's state means right now, in a few words. */
function situation(store, stick, lease) {
  if (lease?.state === 'away' || stick.state === 'waiting') return t('situation.waiting', { age: lease?.away_since ? age(lease.away_since) : '' });
  if (lease) return sessionText(lease.session) || t('situation.since', { time: time(lease.since) });
  if (stick.state === 'blocked') return stick.blocked_until && time(stick.blocked_until) ? t('situation.blocked', { time: time(stick.blocked_until) }) : t('situation.blocked.forever');
  if (stick.state === 'absent') return stick.last_seen ? t('situation.absent', { time: time(stick.last_seen) }) : t('situation.never');
  if (stick.state === 'free' && store.server.draining) return t('drain.on');
  if (isUrgent(stick) && stick.problem) {
    const alarm = [...store.alarms.values()].find((one) => one.stick === stick.id);
    return alarm && language() !== 'en' && has(`alarm.${alarm.kind}`) ? t(`alarm.${alarm.kind}`, { stick: visible(stickName(stick)), till: visible(alarm.till ?? '') }) : stick.problem;
  }
  if (isReleased(store, stick)) return t('situation.released');
  return t(`situation.${stick.state}`);
}

function tillCell(store, stick, lease, mappings, context, tab) {
  if (!mappings.length && !lease) {
    return context.mayChange
      ? h('button.ghost-button', { type: 'button', tabindex: tab, 'aria-label': t('map.stick.label', { stick: visible(stickName(stick)) }), onclick: () => context.actions.map({ stick: stick.id }) }, icon('plus'), h('span', t('map.choose')))
      : h('span.muted', '–');
  }
  const shown = lease?.till ?? mappings[0].till;
  return [name(shown, lease ? 'strong' : ''), mappings.length > 1 && h('span.count', { title: t('mappings.more.title') }, `+${mappings.length - 1}`)];
}

/** Rows below a stick: its mappings in order, and the session of the one in use. */
function details(store, stick, lease, mappings, context, level) {
  const rows = [];
  const shown = mappings.map((mapping) => ({ mapping, till: mapping.till }));
  if (lease && !shown.some(({ till }) => till === lease.till)) shown.unshift({ mapping: null, till: lease.till });
  shown.forEach(({ mapping, till }, index) => {
    const known = store.tills.get(till), uses = lease?.till === till && (mapping?.active ?? true);
    const conditions = mapping ? [mapping.user && tv('mapping.user', { user: name(mapping.user) }), mapping.terminal_server && tv('mapping.server', { server: name(mapping.terminal_server) })].filter(Boolean) : [];
    rows.push({ key: `map ${stick.id} ${mapping?.id ?? till}`, level, kind: 'till', label: till, menu: mapping && (() => context.menus.mapping(mapping, mappings)),
      cells: (tab) => [
        h('span.title', icon('till'), shown.length > 1 && mapping && h('span.position', { title: t('mapping.position.title') }, `${index + 1}.`), name(till, 'strong'), known?.label && name(known.label, 'muted'),
          mapping?.source === 'file' && h('span.tag', { title: t('mapping.file.title') }, icon('lock'), t('mapping.file'))),
        known ? h(`span.state.state-${known.state}`, icon(known.state), h('span', t(`till.${known.state}`))) : h('span.muted', t('till.unknown')),
        h('span.wide', conditions.length ? [t('mapping.only'), ' ', conditions.map((part, at) => [at ? ', ' : '', part])] : h('span.muted', mapping ? t('mapping.any') : t('mapping.gone')),
          mapping?.reason && h('span.muted', ' · ', name(mapping.reason)))] });
    if (uses) {
      const session = lease.session ?? {};
      rows.push({ key: `session ${lease.id}`, level: level + 1, kind: 'session', label: t('session'), menu: () => context.menus.lease(lease),
        cells: (tab) => [
          h('span.title', icon('session'), h('span', sessionText(session) ? name(sessionText(session)) : t('session.unknown'))),
          h('span', lease.state === 'away' ? t('lease.away') : tv('lease.since', { time: timeElement(lease.since) })),
          h('span.wide.facts', h('span', t('lease.transfers', { n: lease.transfers ?? 0, transfers: number(lease.transfers ?? 0) })),
            h('span', `↓ ${bytes(lease.bytes_in ?? 0)}  ↑ ${bytes(lease.bytes_out ?? 0)}`),
            lease.errors > 0 && h('span.warn', icon('warning'), t('lease.errors', { n: lease.errors })),
            lease.times_away > 0 && h('span', t('lease.times_away', { n: lease.times_away })),
            lease.rtt_us && h('span', t('lease.rtt', { time: latency(lease.rtt_us) })),
            session.client_name && name(session.client_name, 'muted')),
          context.mayChange ? h('button.quiet.small', { type: 'button', tabindex: tab, onclick: () => context.actions.endLease(lease) }, t('lease.end')) : null] });
    }
  });
  if (!shown.length) rows.push({ key: `nobody ${stick.id}`, level, kind: 'note', label: t('mapping.none'), cells: () => [h('span.title.muted', icon('unmapped'), t('mapping.none'))] });
  return rows;
}

function stickRow(store, stick, context, ui, expanded) {
  const lease = leaseOf(store, stick), mappings = mappingsOf(store, stick);
  const serial = stick.by_port ? t('stick.by_port', { port: stick.port }) : stick.serial;
  return {
    key: `stick ${stick.id}`, level: 3, kind: 'stick', label: stickName(stick), expanded, urgent: isUrgent(stick), toggle: () => ui.toggle(stick.id),
    menu: () => context.menus.stick(stick), map: context.mayChange ? () => context.actions.map({ stick: stick.id }) : null, stick,
    drag: context.mayChange ? draggable({ kind: 'stick', label: stickName(stick), dropped: (till) => context.actions.drop({ stick: stick.id, till }) }) : {},
    cells: (tab) => [
      h('span.title', context.mayChange && h('span.grip', { 'aria-hidden': 'true' }, icon('grip')),
        h('span.names', name(stickName(stick), 'strong'), h('span.serial', stick.family && h('span', stick.family), name(serial, stick.by_port ? '' : 'mono'), stick.port && !stick.by_port && h('span.port', t('stick.port', { port: visible(stick.port) }))))),
      state(stick.state),
      h('span.till-cell', tillCell(store, stick, lease, mappings, context, tab)),
      h('span.situation', { title: visible(situation(store, stick, lease)) }, name(situation(store, stick, lease))),
      h('span.latency', lease ? [sparkline(store.history.get(String(lease.id)), { p50: lease.p50_us, p99: lease.p99_us }),
        h('span.figures', { 'aria-hidden': 'true' }, h('span', { title: t('latency.p50') }, latency(lease.p50_us)), h('span.muted', { title: t('latency.p99') }, latency(lease.p99_us)))] : null),
      h('span.traffic', lease ? [h('span', `↓ ${bytes(lease.bytes_in ?? 0)}`), h('span.muted', `↑ ${bytes(lease.bytes_out ?? 0)}`)] : null),
    ],
  };
}

/** All rows that are shown now, top to bottom. */
function rowsOf(store, ui, context) {
  const words = ui.search.toLowerCase().split(/\s+/).filter(Boolean);
  const all = sticksInOrder(store), server = store.server;
  const shown = all.filter((stick) => filters[ui.filter](stick) && matches(store, stick, words));
  const site = server.site || t('site.here');
  const rows = [
    { key: 'site', level: 1, kind: 'site', label: site, expanded: true, cells: () => [h('span.title', icon('site'), name(site, 'strong'))] },
    { key: 'server', level: 2, kind: 'server', label: server.name, expanded: true, menu: context.mayChange ? () => context.menus.server() : null,
      cells: () => [h('span.title', icon('server'), name(server.name, 'strong'), h('span.muted', `tillbridged ${server.version ?? ''}`)),
                    h('span.wide.facts', h('span', t('sticks.count', { n: all.filter((stick) => stick.present).length })), server.draining && h('span.tag.warn', icon('wrench'), t('drain.on')))] },
  ];
  for (const stick of shown) {
    const expanded = ui.expanded.get(stick.id) ?? all.length <= FEW;
    rows.push(stickRow(store, stick, context, ui, expanded));
    if (expanded) rows.push(...details(store, stick, leaseOf(store, stick), mappingsOf(store, stick), context, 4));
  }
  return { rows, shown, all };
}

function keys(event, row, rows, ui) {
  if (event.target !== event.currentTarget && event.key !== 'Escape') return;
  const index = rows.indexOf(row);
  const go = (to) => { const next = rows[Math.min(Math.max(to, 0), rows.length - 1)]; ui.current = next.key; ui.focus = true; ui.redraw(); };
  const parent = () => { for (let at = index - 1; at >= 0; --at) if (rows[at].level < row.level) return at; return index; };
  const handle = {
    ArrowDown: () => go(index + 1), ArrowUp: () => go(index - 1), Home: () => go(0), End: () => go(rows.length - 1),
    PageDown: () => go(index + 10), PageUp: () => go(index - 10),
    ArrowRight: () => { if (row.toggle && !row.expanded) row.toggle(); else go(index + 1); },
    ArrowLeft: () => { if (row.toggle && row.expanded) row.toggle(); else go(parent()); },
    Enter: () => row.toggle?.(), ' ': () => row.toggle?.(),
    m: () => row.map?.(), ContextMenu: () => menu(event.currentTarget), Escape: () => event.currentTarget.focus(),
  }[event.key === 'F10' && event.shiftKey ? 'ContextMenu' : event.key];
  if (!handle || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  handle();
}

const menu = (element) => element.querySelector('[aria-haspopup=menu]')?.click();

export function tree(store, ui, context) {
  const { rows, shown, all } = rowsOf(store, ui, context);
  const counts = Object.fromEntries(Object.entries(filters).map(([key, fits]) => [key, all.filter(fits).length]));
  const current = rows.some((row) => row.key === ui.current) ? ui.current : rows.find((row) => row.kind === 'stick')?.key ?? rows[0].key;
  const heads = ['stick', 'state', 'till', 'session', 'latency', 'traffic'];

  const element = (row, index) => {
    const isCurrent = row.key === current, tab = isCurrent ? '0' : '-1';
    return h('div', { key: row.key, role: 'row', class: `row row-${row.kind}${row.urgent ? ' urgent' : ''}`, 'aria-level': row.level, 'aria-rowindex': index + 2,
        'aria-expanded': row.expanded === undefined ? null : String(row.expanded), tabindex: tab, vars: { '--level': String(row.level) },
        'data-takes': row.kind === 'stick' ? 'till' : null, 'data-id': row.kind === 'stick' ? row.stick.id : null,
        onkeydown: (event) => keys(event, row, rows, ui),
        onfocus: () => { if (ui.current !== row.key) { ui.current = row.key; ui.redraw(); } },
        ondblclick: (event) => { if (!event.target.closest('button')) row.toggle?.(); },
        oncontextmenu: (event) => { if (row.menu && !event.shiftKey) { event.preventDefault(); menu(event.currentTarget); } },
        ref: (node) => { node.rowKey = row.key; }, ...row.drag },
      h('span.cell.fold', { role: 'gridcell' }, row.toggle && h('button.icon-button', { type: 'button', tabindex: '-1', 'aria-label': t(row.expanded ? 'fold' : 'unfold', { name: visible(row.label) }), onclick: row.toggle }, icon('open', { classes: row.expanded ? 'turned' : '' }))),
      row.cells(tab).map((cell, at) => cell && h(`span.cell.cell-${at}`, { role: 'gridcell' }, cell)),
      h('span.cell.act', { role: 'gridcell' }, row.menu && menuButton({ label: t('menu.of', { name: visible(row.label) }), items: row.menu, tabindex: tab })));
  };

  return h('section.panel.tree-panel', { 'aria-labelledby': 'sticks-title' },
    h('div.panel-head',
      h('h2', { id: 'sticks-title' }, t('sticks')),
      h('label.search', icon('search'), h('span.unseen', t('search')), h('input', { type: 'search', placeholder: t('search'), value: ui.search, oninput: (event) => { ui.search = event.target.value; ui.redraw(); } })),
      h('div.chips', { role: 'group', 'aria-label': t('filter') }, Object.keys(filters).filter((key) => key === 'all' || counts[key]).map((key) =>
        h('button.chip', { key, type: 'button', 'aria-pressed': String(ui.filter === key), onclick: () => { ui.filter = key; ui.redraw(); } }, t(`filter.${key}`), h('span.count', String(counts[key])))))),
    all.length === 0
      ? h('div.empty', icon('stick'), h('p.strong', t('sticks.empty')), h('p.muted', t('sticks.empty.more')))
      : [h('div', { class: `tree${all.length > MANY ? ' many' : ''}`, role: 'treegrid', 'aria-label': t('tree.label'), 'aria-rowcount': rows.length + 1, 'aria-describedby': 'tree-help' },
          h('div.row.row-head', { role: 'row', 'aria-rowindex': 1 }, h('span.cell.fold', { role: 'columnheader' }, h('span.unseen', t('column.fold'))),
            heads.map((head, at) => h(`span.cell.cell-${at}`, { role: 'columnheader' }, t(`column.${head}`))), h('span.cell.act', { role: 'columnheader' }, h('span.unseen', t('column.menu')))),
          rows.map(element)),
         shown.length === 0 && h('div.empty', h('p.muted', t('sticks.none_fits')), h('button.quiet', { type: 'button', onclick: () => { ui.search = ''; ui.filter = 'all'; ui.redraw(); } }, t('filter.clear'))),
         h('p.help', { id: 'tree-help' }, t(context.mayChange ? 'tree.help' : 'tree.help.viewer'))]);
}

/** After a redraw: the row that the keyboard went to gets the focus. */
export function focusRow(ui) {
  if (!ui.focus) return;
  ui.focus = false;
  for (const node of document.querySelectorAll('[role=treegrid] [role=row]')) {
    if (node.rowKey === ui.current) { node.focus(); node.scrollIntoView({ block: 'nearest' }); return; }
  }
}
