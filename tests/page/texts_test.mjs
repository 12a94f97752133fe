// Both languages say everything, with the same places to fill.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../server/page');
// The page's modules are modules in a browser; here only what is after "export const" is of interest.
const texts = async (language) => (await import(`data:text/javascript,${encodeURIComponent(fs.readFileSync(path.join(folder, `texts_${language}.js`), 'utf8'))}`))[language];
const en = await texts('en'), de = await texts('de');
const forms = (text) => typeof text === 'string' ? [text] : Object.values(text);
const places = (text) => [...new Set(forms(text).join(' ').match(/\{\w+\}/g) ?? [])].filter((place) => place !== '{n}').sort().join();
// In English the server's own words for what helps against an alarm are shown.
const onlyGerman = (key) => /^alarm\..*\.remedy$/.test(key);

test('both languages have the same texts with the same places', () => {
  assert.deepEqual(Object.keys(de).filter((key) => !(key in en) && !onlyGerman(key)), []);
  assert.deepEqual(Object.keys(en).filter((key) => !(key in de)), []);
  for (const key of Object.keys(en)) assert.equal(places(de[key]), places(en[key]), key);
});

test('every text that the page asks for by its name is there', () => {
  for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.js') && !name.startsWith('texts_'))) {
    for (const [, key] of fs.readFileSync(path.join(folder, file), 'utf8').matchAll(/\btv?\(\s*'([^']+)'/g)) assert.ok(key in en, `${file}: ${key}`);
  }
});

test('nothing makes markup, inline style or code out of text', () => {
  for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.js'))) {
    assert.doesNotMatch(fs.readFileSync(path.join(folder, file), 'utf8'), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\('style'|srcdoc/, file);
  }
  assert.doesNotMatch(fs.readFileSync(path.join(folder, 'index.html'), 'utf8'), /https?:|\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)/);
});

test('every file of the page is embedded', () => {
  const listed = fs.readFileSync(path.join(folder, 'CMakeLists.txt'), 'utf8');
  for (const file of fs.readdirSync(folder).filter((name) => /\.(js|css|html|svg)$/.test(name))) assert.match(listed, new RegExp(`^\\s+${file.replace('.', '\\.')}\\)?$`, 'm'), file);
});
