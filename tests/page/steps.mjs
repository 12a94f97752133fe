// A browser on a leash: chain_test.py says line by line what to do on the page, and hears line by line that it was so.
// {"do": "drag", "till": "kasse-01", "stick": "5A2F..."} -> {"ok": true} or {"ok": false, "why": "..."}
import readline from 'node:readline';
import { accessible, fits, logIn, openPage, picture, startBrowser } from './browser.mjs';

let browser, page;
const stickRow = (text) => page.locator('.row-stick').filter({ hasText: text }).first();
const till = (name) => page.locator('.till').filter({ hasText: name }).first();
const dialog = () => page.getByRole('dialog');

const steps = {
  /** Opens the page by the one-time link and makes the first account. */
  async first_login({ link, user, password, ...options }) {
    browser = await startBrowser();
    // The server's own authority signed its certificate; whether that is the right one is not the page's affair.
    page = await openPage(browser, link, { ignoreHTTPSErrors: true, ...options });
    await page.getByLabel('Name').fill(user);
    await page.getByLabel('Password', { exact: true }).fill(password);
    await page.getByLabel('Password again').fill(password);
    await page.getByRole('button', { name: 'Make account and log in' }).click();
    await page.locator('#headline').waitFor();
  },
  async log_out() {
    await page.getByRole('button', { name: /^Account/ }).click();
    await page.getByRole('menuitem', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'Log in' }).waitFor();
  },
  async log_in({ user, password }) { await logIn(page, { user, password }); },

  async headline({ text }) { await page.locator('#headline').filter({ hasText: text }).waitFor(); },
  async stick_says({ stick, text }) { await stickRow(stick).getByText(text).first().waitFor(); },
  async till_says({ till: name, text }) { await till(name).filter({ hasText: text }).waitFor(); },
  async event({ text }) { await page.getByRole('log').getByText(text).first().waitFor(); },

  /** The words that the page shows for a pending till; approves it if they are those. */
  async approve({ name, words, reason }) {
    const need = page.locator('.need').filter({ hasText: name });
    await need.waitFor();
    const shown = await need.locator('.word').allInnerTexts();
    if (shown.join(' ') !== words) throw new Error(`the page shows '${shown.join(' ')}', the till '${words}'`);
    await picture(page, 'real-pending');
    await need.getByRole('button', { name: 'Approve' }).click();
    await dialog().getByLabel('Reason').fill(reason);
    await dialog().getByRole('button', { name: 'Yes, approve' }).click();
    await dialog().waitFor({ state: 'detached' });
  },
  async drag({ till: name, stick }) {
    const from = await till(name).boundingBox(), to = await stickRow(stick).boundingBox();
    await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
    await page.mouse.down();
    await page.mouse.move(from.x + from.width / 2 - 20, from.y + from.height / 2, { steps: 3 });
    await page.mouse.move(to.x + to.width / 2, to.y + to.height / 2, { steps: 8 });
    await page.locator('.drop-here').waitFor();
    await page.mouse.up();
  },
  async unmap({ stick, reason }) {
    await stickRow(stick).getByRole('button', { name: /^Actions/ }).click();
    await page.getByRole('menuitem', { name: 'Unmap' }).click();
    await dialog().getByLabel('Reason').fill(reason);
    await dialog().getByRole('button', { name: 'Unmap' }).click();
    await dialog().waitFor({ state: 'detached' });
  },
  async end_lease({ stick, reason }) {
    await stickRow(stick).getByRole('button', { name: /^Actions/ }).click();
    await page.getByRole('menuitem', { name: 'End this use' }).click();
    await dialog().getByLabel('Reason').fill(reason);
    await dialog().getByRole('button', { name: 'End it' }).click();
    await dialog().waitFor({ state: 'detached' });
  },
  /** A button of what needs somebody. */
  async need({ text, press = null }) {
    const need = page.locator('.need').filter({ hasText: text });
    await need.waitFor();
    if (press) await need.getByRole('button', { name: press }).click();
  },
  async no_need({ text }) { await page.locator('.need').filter({ hasText: text }).waitFor({ state: 'detached' }); },
  /** Waits until the stick's p99 is at least so many milliseconds. */
  async p99_above({ stick, ms }) {
    const figure = stickRow(stick).locator('.figures > :nth-child(2)');
    await page.waitForFunction(([element, least]) => parseFloat(element.textContent) >= least, [await figure.elementHandle(), ms]);
    return { text: await figure.innerText() };
  },
  async line({ stick }) {
    await page.waitForFunction((element) => (element.getAttribute('d').match(/L/g) ?? []).length >= 2, await stickRow(stick).locator('.sparkline .p99').elementHandle());
  },
  async language({ to, title }) {
    await page.locator('.language').click();
    await page.getByRole('menuitemradio', { name: to }).click();
    await page.getByText(title).first().waitFor();
  },
  async theme({ to, button = /^(Appearance|Darstellung)$/ }) {
    await page.getByRole('button', { name: button }).click();
    await page.getByRole('menuitemradio', { name: to }).click();
  },
  async audit({ expect }) {
    await page.locator('.views a').nth(1).click();
    for (const text of expect) await page.locator('.audit').getByText(text).first().waitFor();
    await page.getByRole('button', { name: /^(Verify|Prüfen)$/ }).click();
    await page.locator('.verdict.good').waitFor();
    await accessible(page, 'audit');
    await picture(page, 'real-audit');
    await page.locator('.views a').first().click();
    await page.locator('#headline').waitFor();
  },
  async picture({ name }) { await fits(page, name); await accessible(page, name); await picture(page, name); },
  async end() { await page.done(); await browser.close(); },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: what, ...values } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: true, ...await steps[what](values) }));
  } catch (error) {
    if (page) await picture(page, `failed-${what}`).catch(() => {});
    console.log(JSON.stringify({ ok: false, why: `${what}: ${error.message}` }));
  }
  if (what === 'end') break;
}
process.exit(0);
