// Chromium for the page's tests: one per test file, a page with everything it complained about, pictures kept.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axeSource = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const program = process.env.TILLBRIDGE_CHROMIUM ?? '/usr/bin/chromium';
const pictures = process.env.TILLBRIDGE_PAGE_PICTURES ?? path.join(os.tmpdir(), 'tillbridge-page');

export async function startBrowser() {
  if (!fs.existsSync(program)) throw new Error(`${program} is missing; packaging/setup installs it`);
  return chromium.launch({ executablePath: program, chromiumSandbox: false,
    args: ['--headless=new', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
}

/** A page in a fresh profile. done() fails if the console, the policy or a script complained. */
export async function openPage(browser, url, { language = 'en-GB', dark = false, width = 1440, height = 960, touch = false, expected = [], ...more } = {}) {
  const context = await browser.newContext({ locale: language, colorScheme: dark ? 'dark' : 'light', viewport: { width, height }, hasTouch: touch, isMobile: touch, reducedMotion: 'reduce', ...more });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']).catch(() => {});
  const page = await context.newPage();
  page.setDefaultTimeout(Number(process.env.TILLBRIDGE_PAGE_TIMEOUT_MS ?? 15000));
  const complaints = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type()) && !expected.some((pattern) => pattern.test(message.text()))) complaints.push(`console: ${message.text()}`); });
  page.on('pageerror', (error) => complaints.push(`script: ${error.stack}`));
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.addInitScript(() => {
    globalThis.policyViolations = [];
    document.addEventListener('securitypolicyviolation', (event) => globalThis.policyViolations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
  });
  await page.goto(url);
  page.done = async () => {
    const violations = await page.evaluate(() => globalThis.policyViolations);
    await context.close();
    assert.deepEqual([...complaints, ...violations], []);
  };
  return page;
}

export async function logIn(page, { user, password }) {
  await page.getByLabel(/^(Name)$/).fill(user);
  await page.getByLabel(/^(Password|Passwort)$/).fill(password);
  await page.getByRole('button', { name: /^(Log in|Anmelden)$/ }).click();
  await page.getByRole('heading', { level: 1 }).and(page.locator('#headline')).waitFor();
}

export async function picture(page, name, options = {}) {
  fs.mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: path.join(pictures, `${name}.png`), ...options });
}

/** No serious or critical fault; contrast is measured, too. */
export async function accessible(page, what) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const bad = found.violations.filter((fault) => ['serious', 'critical'].includes(fault.impact));
  assert.deepEqual(bad.map((fault) => `${fault.id} (${fault.impact}): ${fault.help}: ${fault.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any.map((check) => check.message).join('; ')}`).join(' | ')}`), [], `accessibility of ${what}`);
}

/** Nothing is wider than the window, and nothing of the text of these elements is cut off outside it. */
export async function fits(page, what) {
  const { wide, window } = await page.evaluate(() => ({ window: innerWidth, wide: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) }));
  assert.ok(wide <= window, `${what}: ${wide} pixels wide in a window of ${window}`);
}
