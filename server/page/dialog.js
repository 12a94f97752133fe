// A dialog is drawn by a function, again whenever something changes, and says itself what went wrong.
import { h, patch } from './view.js';
import { icon } from './icons.js';
import { t } from './i18n.js';
import { visible } from './format.js';

const open = new Set();
let number = 0;

/** Draws all open dialogs again: what they show may have changed. */
export const redrawDialogs = () => open.forEach((dialog) => dialog.redraw());
export const closeDialogs = () => open.forEach((dialog) => dialog.close());

/**
 * `draw(dialog)` gives {title, body, actions, wide}; dialog.run(promise-giving function) shows its error and closes
 * after success if it gives no `true` for "stay". Focus goes back to where it was.
 */
export function openDialog(draw, { onclose } = {}) {
  const element = document.createElement('dialog'), titleId = `dialog-${++number}`, before = document.activeElement;
  const dialog = {
    element, busy: false, error: null,
    redraw() {
      if (!element.isConnected) return;
      const { title, body, actions, submit, wide = false } = draw(dialog);
      element.className = wide ? 'wide' : '';
      patch(element, [h('form', { class: 'dialog-form', novalidate: true, onsubmit: (event) => { event.preventDefault(); if (!dialog.busy && submit) dialog.run(() => submit(values(element))); } },
        h('header.dialog-head', h('h2', { id: titleId }, title), h('button.icon-button', { type: 'button', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
        h('div.dialog-body', body, dialog.error && h('div.problem', { role: 'alert' }, icon('error'), h('div', h('p', visible(dialog.error.message)), dialog.error.remedy && h('p.muted', visible(dialog.error.remedy))))),
        h('footer.dialog-foot', typeof actions === 'function' ? actions() : actions)) ]);
    },
    async run(action) {
      dialog.busy = true;
      dialog.error = null;
      dialog.redraw();
      try {
        if (await action() !== true) dialog.close();
      } catch (error) {
        dialog.error = error;
      } finally {
        dialog.busy = false;
        dialog.redraw();
      }
    },
    close() { element.close(); },
  };
  element.setAttribute('aria-labelledby', titleId);
  element.addEventListener('close', () => {
    open.delete(dialog);
    element.remove();
    if (before?.isConnected) before.focus();
    onclose?.();
  });
  element.addEventListener('pointerdown', (event) => { dialog.pressedOutside = event.target === element; });
  element.addEventListener('click', (event) => { if (event.target === element && dialog.pressedOutside && !element.querySelector('input:not([type=checkbox]), textarea')) dialog.close(); });
  document.body.append(element);
  open.add(dialog);
  dialog.redraw();
  element.showModal();
  // The first field is where a person wants to be; without one, the dialog itself says what it is.
  (element.querySelector('[data-first]') ?? element.querySelector('.dialog-body input, .dialog-body select') ?? element.querySelector('.dialog-foot button'))?.focus();
  return dialog;
}

/** What stands in the fields, by name. */
export const values = (element) => Object.fromEntries([...new FormData(element.querySelector('form'))].map(([key, value]) => [key, typeof value === 'string' ? value.trim() : value]));

let fields = 0;
/** A labelled field. `control` is drawn with an id and, if there is a hint, a description. */
export function field(label, control, { hint = null, key = label } = {}) {
  const id = control.props.id ?? (control.props.id = `field-${control.props.name ?? ++fields}`);
  if (hint) control.props['aria-describedby'] = `${id}-hint`;
  return h('div.field', { key }, h('label', { for: id }, label), control, hint && h('p.hint', { id: `${id}-hint` }, hint));
}

export const input = (props) => h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...props });
export const select = ({ chosen, ...props }, options) =>
  h('select', props, options.map((option) => h('option', { value: option.value, key: option.value, selected: option.value === chosen }, option.label)));
export const reason = () => field(t('reason'), input({ name: 'reason', maxlength: 500 }), { hint: t('reason.hint') });

export const foot = (dialog, label, { danger = false, disabled = false } = {}) => [
  h('button.quiet', { type: 'button', key: 'cancel', onclick: () => dialog.close() }, t('cancel')),
  h('button', { type: 'submit', key: 'go', class: danger ? 'danger' : 'primary', disabled: dialog.busy || disabled }, label)];
