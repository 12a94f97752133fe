// The audit log: who did what, when and why; whether it is whole; a copy for the auditor.
import { h } from './view.js';
import { icon } from './icons.js';
import { api } from './api.js';
import { has, t } from './i18n.js';
import { field, input, select } from './dialog.js';
import { whoText } from './log.js';
import { fullTime, name, number, stickName, tillName, timeElement, visible } from './format.js';
import { sticksInOrder, tillsInOrder } from './model.js';

const PAGE = 100;

export class Audit {
  constructor(redraw) {
    Object.assign(this, { redraw, filter: { stick: '', till: '', from: '', to: '' }, entries: null, more: false, error: null, report: null, checking: false });
  }

  #query() {
    const time = (text, end) => text ? new Date(`${text}T${end ? '23:59:59.999' : '00:00:00'}`).toISOString() : '';
    return { stick: this.filter.stick, till: this.filter.till, from: time(this.filter.from), to: time(this.filter.to, true) };
  }

  async load(further = false) {
    const asked = this.asked = {};
    const before = further ? this.entries?.at(-1)?.n : undefined;
    if (!further) this.entries = null;
    this.error = null;
    this.redraw();
    try {
      const answer = await api.audit({ ...this.#query(), limit: PAGE, before });
      if (asked !== this.asked) return; // another filter since
      const list = Array.isArray(answer) ? answer : answer.entries;
      this.entries = [...(further ? this.entries : []), ...list];
      this.more = list.length === PAGE;
    } catch (error) {
      if (asked === this.asked) { this.error = error; this.entries ??= []; }
    }
    this.redraw();
  }

  async verify() {
    this.checking = true;
    this.redraw();
    try {
      this.report = await api.verifyAudit();
    } catch (error) {
      this.report = { error };
    }
    this.checking = false;
    this.redraw();
  }

  set(key, value) {
    this.filter[key] = value;
    this.load();
  }

  draw(store) {
    const { filter } = this, { stick, from, to } = this.#query();
    const change = (key) => (event) => this.set(key, event.target.value);
    return h('section.panel.audit-panel', { 'aria-labelledby': 'audit-title' },
      h('div.panel-head', h('h1', { id: 'audit-title' }, t('audit')), h('p.muted', t('audit.text'))),
      h('div.audit-tools',
        field(t('stick'), select({ name: 'audit-stick', chosen: filter.stick, onchange: change('stick') }, [{ value: '', label: t('audit.all_sticks') }, ...sticksInOrder(store).map((one) => ({ value: one.id, label: visible(stickName(one)) }))])),
        field(t('till'), select({ name: 'audit-till', chosen: filter.till, onchange: change('till') }, [{ value: '', label: t('audit.all_tills') }, ...tillsInOrder(store).map((one) => ({ value: one.name, label: visible(tillName(one)) }))])),
        field(t('audit.from'), input({ name: 'audit-from', type: 'date', value: filter.from, onchange: change('from') })),
        field(t('audit.to'), input({ name: 'audit-to', type: 'date', value: filter.to, onchange: change('to') })),
        h('div.audit-buttons',
          h('button.quiet', { type: 'button', disabled: this.checking, onclick: () => this.verify() }, icon('check'), h('span', t(this.checking ? 'audit.verifying' : 'audit.verify'))),
          h('a.button.quiet', { href: api.exportAddress({ stick, from, to }), download: '' }, icon('download'), h('span', t('audit.export'))))),
      h('div', { role: 'status' }, this.report && report(this.report)),
      this.error && h('div.problem', { role: 'alert' }, icon('error'), h('div', h('p', visible(this.error.message)), this.error.remedy && h('p.muted', visible(this.error.remedy)))),
      this.entries === null ? h('p.empty.muted', t('loading'))
        : this.entries.length === 0 ? h('div.empty', h('p.muted', t('audit.empty')))
        : h('div.table-frame', { tabindex: '0', role: 'region', 'aria-labelledby': 'audit-title' },
            h('table.audit', h('thead', h('tr', ['time', 'what', 'stick', 'till', 'who', 'why'].map((column) => h('th', { scope: 'col' }, t(`audit.${column}`))))),
              h('tbody', this.entries.map((entry) => line(store, entry))))),
      this.more && h('div.panel-foot', h('button.quiet', { type: 'button', onclick: () => this.load(true) }, t('audit.more'))));
  }
}

function line(store, entry) {
  const stick = store.sticks.get(entry.stick), key = `kind.${entry.kind}`;
  const given = Object.entries(entry.details ?? {}).filter(([, value]) => typeof value !== 'object' && value !== '');
  // The digits of a fingerprint are for comparing; here its beginning will do.
  const brief = (value) => /^[0-9a-f]{40,}$/.test(value) ? `${value.slice(0, 16)}…` : visible(value);
  const facts = given.map(([what, value]) => `${what.replaceAll('_', ' ')} ${brief(value)}`).join(', ');
  return h('tr', { key: entry.n },
    h('td.when', timeElement(entry.time, { seconds: true }), h('span.muted.small', { title: t('audit.number') }, ` #${entry.n}`)),
    h('td', h('span.strong', has(key) ? t(key) : visible(String(entry.kind).replaceAll('_', ' '))), facts && h('span.details', { lang: 'en', title: given.map(([what, value]) => `${what} ${visible(value)}`).join('\n') }, h('bdi', facts))),
    h('td', { 'data-head': t('audit.stick') }, entry.stick && name(stick ? stickName(stick) : entry.stick)),
    h('td', { 'data-head': t('audit.till') }, entry.till && name(entry.till)),
    h('td', { 'data-head': t('audit.who') }, entry.who && name(whoText(entry.who))),
    h('td', { 'data-head': t('audit.why') }, entry.reason && name(/^[a-z]+(_[a-z]+)+$/.test(entry.reason) ? entry.reason.replaceAll('_', ' ') : entry.reason)));
}

function report(result) {
  if (result.error) return h('div.problem', icon('error'), h('div', h('p', visible(result.error.message)), result.error.remedy && h('p.muted', visible(result.error.remedy))));
  const findings = result.findings ?? [], warnings = result.warnings ?? [];
  return h('div', { class: `verdict ${result.intact ? 'good' : 'bad'}` }, icon(result.intact ? 'good' : 'error'),
    h('div', h('p.strong', result.intact ? t('audit.intact', { n: result.entries ?? 0, entries: number(result.entries ?? 0) }) : t('audit.damaged', { n: findings.length })),
      result.signed_at && h('p.muted', t('audit.signed', { entry: result.signed_to, time: fullTime(result.signed_at) })),
      findings.length > 0 && h('ul', findings.map((finding) => h('li', { lang: 'en' }, finding.n ? `#${finding.n}: ` : '', visible(finding.what)))),
      warnings.length > 0 && h('ul', warnings.map((warning) => h('li', { lang: 'en' }, visible(warning))))));
}
