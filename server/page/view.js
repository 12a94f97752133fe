// What is on the screen, as a function of what is known: h() describes, patch() makes the document so.
// Text only ever becomes a text node and attributes are set one by one, so nothing that a device, a till
// or a person calls itself can become markup.

const SVG = 'http://www.w3.org/2000/svg';
const svgTags = new Set(['svg', 'path', 'circle', 'rect', 'line', 'polyline', 'g', 'title']);
// These are properties of an element rather than attributes: an attribute is only their first value.
const properties = new Set(['value', 'checked', 'disabled', 'selected', 'open', 'indeterminate']);

/**
 * A description of an element: h('button.primary', {onclick, key, ref, vars}, children...).
 * `key` tells brothers apart when they move, `ref` is called with the element once it is made, `vars` are
 * custom properties for the style sheet. Children: descriptions, text, numbers, lists; null and false are nothing.
 */
export function h(name, props, ...children) {
  if (props === null || typeof props !== 'object' || Array.isArray(props) || props.tag) {
    if (props !== undefined) children.unshift(props);
    props = {};
  }
  const [tag, ...classes] = name.split('.');
  if (classes.length) props = { ...props, class: [...classes, props.class].filter(Boolean).join(' ') };
  const flat = [];
  const add = (child) => {
    if (Array.isArray(child)) child.forEach(add);
    else if (child !== null && child !== undefined && child !== false && child !== true) {
      flat.push(typeof child === 'object' ? child : { text: String(child) });
    }
  };
  add(children);
  return { tag, key: props.key, props, children: flat };
}

const made = new WeakMap(); // node -> the description it was made from
const listeners = new WeakMap();

function setProp(node, name, value, old) {
  if (name === 'key' || name === 'ref') return;
  if (name === 'vars') {
    for (const [variable, text] of Object.entries(value ?? {})) {
      if (old?.[variable] !== text) node.style.setProperty(variable, text);
    }
  } else if (name.startsWith('on')) {
    const all = listeners.get(node) ?? {};
    listeners.set(node, all);
    const type = name.slice(2);
    if (!(type in all)) node.addEventListener(type, (event) => all[type]?.call(node, event));
    all[type] = value || null;
  } else if (properties.has(name)) {
    node[name] = value ?? false;
  } else if (value === null || value === undefined || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? '' : String(value));
  }
}

function make(description) {
  let node;
  if (description.tag === undefined) {
    node = document.createTextNode(description.text);
  } else {
    node = svgTags.has(description.tag) ? document.createElementNS(SVG, description.tag)
                                        : document.createElement(description.tag);
    // Options must be there before a select can have a value.
    const { value, ...others } = description.props;
    for (const [name, prop] of Object.entries(others)) setProp(node, name, prop);
    patch(node, description.children);
    if (value !== undefined) setProp(node, 'value', value);
    description.props.ref?.(node);
  }
  made.set(node, description);
  return node;
}

function update(node, description) {
  const old = made.get(node);
  if (description.tag === undefined) {
    if (old.text !== description.text) node.data = description.text;
  } else {
    for (const name of Object.keys(old.props)) {
      if (!(name in description.props)) setProp(node, name, undefined, old.props[name]);
    }
    for (const [name, prop] of Object.entries(description.props)) {
      if (old.props[name] !== prop) setProp(node, name, prop, old.props[name]);
    }
    patch(node, description.children);
  }
  made.set(node, description);
}

/** Makes the children of `parent` what is described; elements that stay keep their focus and their state. */
export function patch(parent, descriptions) {
  const keyed = new Map(), plain = [];
  for (const node of parent.childNodes) {
    const old = made.get(node);
    if (!old) continue; // not ours
    if (old.key !== undefined) keyed.set(`${old.tag} ${old.key}`, node);
    else plain.push(node);
  }
  let next = 0, before = null;
  const kept = new Set();
  for (const description of descriptions) {
    let node;
    if (description.key !== undefined) {
      node = keyed.get(`${description.tag} ${description.key}`);
    } else if (next < plain.length && made.get(plain[next]).tag === description.tag) {
      node = plain[next++];
    }
    if (node && !kept.has(node)) update(node, description);
    else node = make(description);
    kept.add(node);
    // Moving an element would take its focus away, so what is in its place already stays.
    const place = before ? before.nextSibling : parent.firstChild;
    if (node !== place) parent.insertBefore(node, place);
    before = node;
  }
  for (const node of [...parent.childNodes]) {
    if (made.has(node) && !kept.has(node)) node.remove();
  }
}
