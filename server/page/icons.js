// Icons, drawn on 20 x 20. Each state has a shape of its own: nobody has to tell colours apart.
import { h } from './view.js';

const circle = 'M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15z';
const shapes = {
  // the bridge of the name: a deck, an arch, two piers
  mark: 'M1.5 14.5h17M4.5 14.5v3M15.5 14.5v3M4.5 14.5V11a5.5 5.5 0 0 1 11 0v3.5M10 5.5v9M7 6.4v8.1M13 6.4v8.1',
  // states of sticks
  in_use: { fill: circle, line: 'M6.6 10.3l2.4 2.4 4.5-5' },
  waiting: `${circle}M10 6v4.2l2.8 1.8`,
  offered: { line: circle, fill: 'M10 2.5a7.5 7.5 0 0 1 0 15z' },
  free: circle,
  unmapped: { line: circle, dash: '2.6 2.6' },
  refused: 'M6.9 2.5h6.2l4.4 4.4v6.2l-4.4 4.4H6.9l-4.4-4.4V6.9zM10 6.2v4.6M10 13.6v.2',
  blocked: `${circle}M4.8 4.8l10.4 10.4`,
  absent: 'M5 5l10 10M15 5L5 15',
  // states of tills
  connected: { fill: circle, line: 'M6.6 10.3l2.4 2.4 4.5-5' },
  resuming: 'M16.5 8.5A6.8 6.8 0 0 0 4.2 6.4M4 2.8v3.8h3.8M3.5 11.5a6.8 6.8 0 0 0 12.3 2.1M16 17.2v-3.8h-3.8',
  lost: 'M8.2 6.1l1.4-1.4a4 4 0 0 1 5.7 5.7l-1.4 1.4M11.8 13.9l-1.4 1.4a4 4 0 0 1-5.7-5.7l1.4-1.4M3 3l14 14',
  away: 'M16.8 12.2A7.2 7.2 0 0 1 7.8 3.2a7.2 7.2 0 1 0 9 9z',
  never_seen: { line: circle, dash: '2.6 2.6' },
  revoked: `${circle}M4.8 4.8l10.4 10.4`,
  // things
  site: 'M3 17.5V7l7-4.5L17 7v10.5zM8 17.5v-5h4v5',
  server: 'M3 3.5h14v5.5H3zM3 11h14v5.5H3zM6 6.2h.2M6 13.7h.2M9.5 6.2H14M9.5 13.7H14',
  stick: 'M7 7.5V2.5h6v5M5.5 7.5h9V16a2 2 0 0 1-2 2h-5a2 2 0 0 1-2-2zM9 4.8v.2M11 4.8v.2',
  till: 'M4 10.5h12M5.5 10.5L7 5h6l1.5 5.5M3 10.5h14V17H3zM8.5 5V2.5h3V5M8 13.8h4',
  session: 'M2.5 3.5h15v10h-15zM7 17h6M10 13.5V17',
  pending: `${circle}M8 8a2 2 0 1 1 2.7 1.9c-.5.2-.7.5-.7 1v.4M10 13.8v.2`,
  alarm: 'M10 2.8l7.8 13.7H2.2zM10 8v4M10 14.2v.2',
  good: { fill: circle, line: 'M6.6 10.3l2.4 2.4 4.5-5' },
  lock: 'M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9',
  grip: 'M7.5 5v.1M12.5 5v.1M7.5 10v.1M12.5 10v.1M7.5 15v.1M12.5 15v.1',
  more: 'M4.5 10v.1M10 10v.1M15.5 10v.1',
  open: 'M7.5 5l5 5-5 5',
  close: 'M5 5l10 10M15 5L5 15',
  plus: 'M10 4v12M4 10h12',
  search: 'M8.8 3.5a5.3 5.3 0 1 0 0 10.6 5.3 5.3 0 0 0 0-10.6zM12.7 12.7l4 4',
  copy: 'M7 7h9.5v10H7zM4 13.5V3h9.5',
  check: 'M4 10.5l4 4 8-9',
  sun: 'M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.8v1.8M10 16.4v1.8M1.8 10h1.8M16.4 10h1.8M4.2 4.2l1.3 1.3M14.5 14.5l1.3 1.3M15.8 4.2l-1.3 1.3M5.5 14.5l-1.3 1.3',
  moon: 'M16.8 12.2A7.2 7.2 0 0 1 7.8 3.2a7.2 7.2 0 1 0 9 9z',
  system: `${circle}M10 2.5v15`,
  user: 'M10 3a3.4 3.4 0 1 0 0 6.8A3.4 3.4 0 0 0 10 3zM3.5 17.5c.6-3.6 3.2-5.2 6.5-5.2s5.9 1.6 6.5 5.2',
  wrench: 'M12.8 3a4.4 4.4 0 0 0-3.6 6.3l-6 6 1.6 1.6 6-6A4.4 4.4 0 0 0 16.9 7l-2.6 2.2-2.6-.9L11 5.6z',
  download: 'M10 3v9.5M6 9l4 4 4-4M3.5 16.5h13',
  info: `${circle}M10 9v4.8M10 6.2v.2`,
  warning: 'M10 2.8l7.8 13.7H2.2zM10 8v4M10 14.2v.2',
  error: 'M6.9 2.5h6.2l4.4 4.4v6.2l-4.4 4.4H6.9l-4.4-4.4V6.9zM10 6.2v4.6M10 13.6v.2',
};

/** An icon says nothing by itself: what it means stands beside it, or in `label`. */
export function icon(what, { label = null, classes = '' } = {}) {
  const shape = shapes[what] ?? shapes.info;
  const { line = typeof shape === 'string' ? shape : null, fill = null, dash = null } = typeof shape === 'string' ? {} : shape;
  return h('svg', { key: what, class: `icon icon-${what} ${classes}`.trim(), viewBox: '0 0 20 20', 'aria-hidden': label ? null : 'true',
                    role: label ? 'img' : null, 'aria-label': label },
    fill && h('path', { class: 'fill', d: fill }),
    line && h('path', { class: fill && what !== 'offered' ? 'on-fill' : 'line', d: line, 'stroke-dasharray': dash }));
}
