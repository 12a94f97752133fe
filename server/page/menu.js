// A menu of actions beside the button that opened it.
import { h, patch } from './view.js';
import { icon } from './icons.js';

let open = null; // {element, opener}

export function closeMenu(refocus = true) {
  if (!open) return;
  const { element, opener } = open;
  open = null;
  element.remove();
  opener.setAttribute('aria-expanded', 'false');
  if (refocus && opener.isConnected) opener.focus();
}

function place(element, opener) {
  const at = opener.getBoundingClientRect(), size = element.getBoundingClientRect(), gap = 4;
  const left = Math.min(Math.max(8, at.right - size.width), innerWidth - size.width - 8);
  const below = at.bottom + gap, above = at.top - gap - size.height;
  element.style.left = `${Math.max(8, left)}px`;
  element.style.top = `${below + size.height > innerHeight - 8 && above > 8 ? above : Math.min(below, Math.max(8, innerHeight - size.height - 8))}px`;
}

/** `items`: {label, icon, run, danger, disabled, href, download}, or null for a line between groups. */
export function openMenu(opener, label, items) {
  const same = open?.opener === opener;
  closeMenu();
  if (same) return;
  const element = document.createElement('div');
  element.className = 'menu';
  element.setAttribute('role', 'menu');
  element.setAttribute('aria-label', label);
  const choose = (item) => { closeMenu(); item.run?.(opener); };
  patch(element, items.filter((item) => item !== undefined && item !== false).map((item) => item === null
    ? h('div.menu-line', { role: 'separator' })
    : h(item.href ? 'a' : 'button', {
        role: item.checked === undefined ? 'menuitem' : 'menuitemradio', tabindex: '-1', class: item.danger ? 'danger' : null,
        'aria-checked': item.checked === undefined ? null : String(item.checked),
        type: item.href ? null : 'button', href: item.href, download: item.href ? '' : null,
        'aria-disabled': item.disabled ? 'true' : null, title: item.title ?? null,
        onclick: (event) => { if (item.disabled) event.preventDefault(); else if (item.href) closeMenu(); else choose(item); },
      }, icon(item.checked ? 'check' : item.icon ?? 'more', { classes: item.icon || item.checked ? '' : 'blank' }), h('span', item.label))));
  // Inside a dialog everything outside is inert.
  (opener.closest('dialog') ?? document.body).append(element);
  open = { element, opener };
  opener.setAttribute('aria-expanded', 'true');
  place(element, opener);
  const entries = () => [...element.querySelectorAll('[role^=menuitem]')];
  const go = (index) => { const all = entries(); all[(index + all.length) % all.length]?.focus(); };
  element.addEventListener('keydown', (event) => {
    const at = entries().indexOf(document.activeElement);
    const keys = { ArrowDown: () => go(at + 1), ArrowUp: () => go(at - 1), Home: () => go(0), End: () => go(-1), Escape: () => closeMenu(), Tab: () => closeMenu() };
    if (keys[event.key]) { event.preventDefault(); event.stopPropagation(); keys[event.key](); return; }
    if (event.key.length === 1 && event.key !== ' ') {
      const letter = event.key.toLowerCase(), all = entries();
      const found = [...all.slice(at + 1), ...all].find((entry) => entry.textContent.trim().toLowerCase().startsWith(letter));
      found?.focus();
    }
  });
  go(0);
}

document.addEventListener('pointerdown', (event) => {
  if (open && !open.element.contains(event.target) && !open.opener.contains(event.target)) closeMenu(false);
});
addEventListener('resize', () => closeMenu(false));
document.addEventListener('scroll', (event) => { if (open && !open.element.contains(event.target)) closeMenu(false); }, true);

/** A button that opens a menu; `items` is asked when it opens. */
export const menuButton = ({ label, items, content = icon('more'), classes = 'icon-button', tabindex = null, title = null }) =>
  h('button', { type: 'button', class: classes, 'aria-haspopup': 'menu', 'aria-expanded': 'false', 'aria-label': label, title: title ?? label, tabindex,
                onclick: function () { openMenu(this, label, items()); } }, content);
