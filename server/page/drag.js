// A till dragged onto a stick, or a stick onto a till: by mouse, pen or finger.
import { visible } from './format.js';
import { announce } from './notices.js';
import { t } from './i18n.js';

const FAR_ENOUGH = 6; // pixels, before a press becomes a drag
const EDGE = 60; // pixels from the window's edge, where it scrolls

/**
 * Properties that make an element something to drag. Places to drop it have data-takes with its kind; `dropped` gets
 * that place's data-id. With a finger only `grip` elements start, so that everything else still scrolls.
 */
export function draggable({ kind, label, dropped }) {
  return {
    onpointerdown: function (event) {
      const grip = event.target.closest('.grip');
      if (event.button !== 0 || (event.pointerType === 'touch' && !grip)) return;
      // A name is a button, and where everybody takes hold; the click of a drag's release is swallowed below.
      if (!grip && event.target.closest('button:not(.link), a, input, select, textarea')) return;
      follow(this, event, { kind, label, dropped });
    },
  };
}

function follow(source, start, { kind, label, dropped }) {
  let ghost = null, over = null, last = start;
  const placeAt = ({ clientX, clientY }) => document.elementFromPoint(clientX, clientY)?.closest(`[data-takes="${kind}"]`) ?? null;
  const choose = (place) => {
    if (place !== over) over?.classList.remove('drop-here');
    over = place; // marked anew each time: a redraw may have taken the mark away
    over?.classList.add('drop-here');
  };
  const begin = () => {
    ghost = document.createElement('div');
    ghost.className = 'ghost';
    ghost.textContent = visible(label);
    document.body.append(ghost);
    document.documentElement.dataset.dragging = kind;
    source.classList.add('dragged');
    getSelection()?.removeAllRanges();
    announce(t(`drag.${kind}`, { name: visible(label) }));
    requestAnimationFrame(scroll);
  };
  const move = (event) => {
    if (event.pointerId !== start.pointerId) return;
    if (!ghost) {
      if (Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < FAR_ENOUGH) return;
      begin();
    }
    event.preventDefault();
    ghost.style.transform = `translate(${event.clientX + 12}px, ${event.clientY + 12}px)`;
    choose(placeAt(event));
    last = event;
  };
  // A long list goes by while the pointer rests at the window's edge.
  const scroll = () => {
    if (!ghost) return;
    const down = last.clientY > innerHeight - EDGE, up = last.clientY < EDGE;
    if (down || up) {
      scrollBy(0, down ? 12 : -12);
      choose(placeAt(last));
    }
    requestAnimationFrame(scroll);
  };
  const end = () => {
    removeEventListener('pointermove', move);
    removeEventListener('pointerup', up);
    removeEventListener('pointercancel', end);
    removeEventListener('keydown', key, true);
    ghost?.remove();
    ghost = null;
    source.classList.remove('dragged');
    delete document.documentElement.dataset.dragging;
    choose(null);
  };
  const up = (event) => {
    if (event.pointerId !== start.pointerId) return;
    const place = ghost && over;
    if (ghost) {
      // The click of this release belongs to the drag. It comes at once, or not at all.
      addEventListener('click', swallow, true);
      setTimeout(() => removeEventListener('click', swallow, true), 0);
    }
    end();
    if (place) dropped(place.dataset.id);
  };
  const swallow = (event) => { event.preventDefault(); event.stopPropagation(); };
  const key = (event) => {
    if (event.key === 'Escape' && ghost) { event.preventDefault(); event.stopPropagation(); end(); }
  };
  addEventListener('pointermove', move, { passive: false });
  addEventListener('pointerup', up);
  addEventListener('pointercancel', end);
  addEventListener('keydown', key, true);
}
