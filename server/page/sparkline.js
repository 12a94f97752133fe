// The last two minutes of a stick's latency: p50 as a line, p99 as the edge of the area above it.
import { h } from './view.js';
import { t } from './i18n.js';
import { latency } from './format.js';

const WIDTH = 96, HEIGHT = 24, POINTS = 60;

/** A path through the points, in pieces where the stick rested. */
function path(points, value, y) {
  let text = '', pen = false;
  const first = POINTS - points.length;
  points.forEach((point, index) => {
    if (!point) { pen = false; return; }
    const x = ((first + index) / (POINTS - 1)) * WIDTH;
    const next = points[index + 1];
    if (!pen && !next) text += `M${x.toFixed(1)} ${y(point[value])}h.01`; // a single one: a dot
    else text += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y(point[value])}`;
    pen = true;
  });
  return text;
}

export function sparkline(points = [], { p50 = null, p99 = null } = {}) {
  // The scale begins at a millisecond, so that a quiet stick looks quiet.
  const most = Math.max(1000, ...points.map((point) => point?.p99 ?? 0));
  const y = (us) => (HEIGHT - 1.5 - ((us ?? 0) / most) * (HEIGHT - 3)).toFixed(1);
  const words = p50 === null ? t('latency.none') : t('latency.words', { p50: latency(p50), p99: latency(p99) });
  return h('svg.sparkline', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': words, preserveAspectRatio: 'none' },
    h('title', words),
    h('path.base', { d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    h('path.p99', { d: path(points, 'p99', y) }),
    h('path.p50', { d: path(points, 'p50', y) }));
}
