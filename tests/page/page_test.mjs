// The page in Chromium in front of a scripted server: everything a person does with it, in both languages, light and dark,
// by mouse, finger and keyboard; situations that are rare in front of real sticks. chain_test.py has the real server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits, logIn, openPage, picture, startBrowser } from './browser.mjs';
import { Standin, login } from './standin/server.mjs';
import * as states from './standin/states.mjs';

let browser;
before(async () => { browser = await startBrowser(); });
after(async () => { await browser.close(); });

/** Latencies that move as those of a busy stick do, the same in every run. */
function steadyWork() {
  let seed = 1;
  return (lease) => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    const part = (seed >> 8) % 1000 / 1000;
    Object.assign(lease, { transfers: lease.transfers + 41, bytes_in: lease.bytes_in + 91000, p50_us: Math.round(520 + 260 * part), p99_us: Math.round(1500 + 2400 * part * part) });
  };
}

/** Runs `steps` on a logged-in page in front of this state; whatever the console complained about is a failure. */
async function inFrontOf(state, { standin: standinOptions, expected, tick = 100, loggedIn = true, hash = '', ...pageOptions }, steps) {
  const standin = new Standin(state, { users: states.someUsers(), audit: states.auditEntries(), ...standinOptions });
  Object.assign(standin, { tick, work: steadyWork() });
  await standin.start();
  const page = await openPage(browser, standin.url + hash, { expected, ...pageOptions });
  try {
    if (loggedIn) await logIn(page, login);
    await steps(page, standin);
    await page.done();
  } finally {
    await page.context().close().catch(() => {});
    await standin.stop();
  }
}

const stickRow = (page, label) => page.locator('.row-stick').filter({ hasText: label }).first();
const till = (page, name) => page.locator('.till').filter({ hasText: name }).first();
const headline = (page, text) => page.locator('#headline').filter({ hasText: text }).waitFor();
const dialog = (page) => page.getByRole('dialog');
async function until(check, what) {
  for (let tries = 0; tries < 300; ++tries) {
    if (await check()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`never: ${what}`);
}
async function drag(page, from, to) {
  const a = await from.boundingBox(), b = await to.boundingBox();
  await page.mouse.move(a.x + a.width / 2, a.y + a.height / 2);
  await page.mouse.down();
  await page.mouse.move(a.x + a.width / 2 + 12, a.y + a.height / 2 + 4);
  await page.mouse.move(b.x + b.width / 2, b.y + b.height / 2, { steps: 8 });
  await page.mouse.up();
}

test('logging in, a wrong password, logging out', async () => {
  await inFrontOf(states.shop(3), { loggedIn: false, expected: [/status of 401/] }, async (page) => {
    await accessible(page, 'login');
    await picture(page, 'login');
    await page.getByLabel('Name').fill('anna');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('alert').filter({ hasText: 'Name or password is wrong.' }).waitFor();
    await logIn(page, login);
    await headline(page, 'All 3 tills have their stick');
    await page.reload(); // still logged in
    await headline(page, 'All 3 tills have their stick');
    await page.getByRole('button', { name: 'Account anna' }).click();
    await page.getByRole('menuitem', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'Log in' }).waitFor();
  });
});

test('the first login by a one-time link, whose token leaves the address bar', async () => {
  await inFrontOf(states.empty(), { loggedIn: false, hash: '#once=first-token', language: 'de-DE' }, async (page) => {
    await page.getByRole('heading', { name: 'Willkommen' }).waitFor();
    assert.doesNotMatch(page.url(), /token/);
    await page.getByLabel('Name').fill('anna');
    await page.getByLabel('Passwort', { exact: true }).fill('lange genug hier');
    await page.getByLabel('Passwort noch einmal').fill('anders');
    await page.getByRole('button', { name: 'Konto anlegen' }).click();
    await page.getByRole('alert').filter({ hasText: 'verschieden' }).waitFor();
    await accessible(page, 'one-time login');
    await picture(page, 'login-once-german');
    await page.getByLabel('Passwort noch einmal').fill('lange genug hier');
    await page.getByRole('button', { name: 'Konto anlegen' }).click();
    await headline(page, 'Willkommen. Geben wir');
  });
});

test('nothing there yet: what to do first', async () => {
  await inFrontOf(states.empty(), {}, async (page, standin) => {
    await page.getByText('No stick is plugged in yet').waitFor();
    await page.getByText('No till yet').waitFor();
    await accessible(page, 'first run');
    await picture(page, 'first-run');
    standin.change({ sticks: [states.stick(1)] });
    await page.locator('.step.done').filter({ hasText: 'Plug in a stick' }).waitFor();
    await page.locator('.step.next').getByRole('button', { name: 'Add till' }).click();
    await dialog(page).getByLabel('Name of the till').fill('kasse-01');
    await dialog(page).getByLabel('Its stick').selectOption(states.stick(1).id);
    await dialog(page).getByRole('button', { name: 'Make the line' }).click();
    await dialog(page).getByText('tillbridge pair tb1:').waitFor();
    await dialog(page).getByRole('img', { name: 'QR code' }).waitFor();
    await until(async () => /1[45]:\d\d/.test(await dialog(page).getByRole('timer').innerText()), 'a countdown from 15 minutes');
    await accessible(page, 'the line for a till');
    await picture(page, 'add-till-line');
    await dialog(page).getByRole('button', { name: 'Copy' }).click();
    await until(async () => (await page.evaluate(() => navigator.clipboard.readText())).startsWith('tillbridge pair tb1:'), 'the line is in the clipboard');
    standin.change({ tills: [states.till('kasse-01')], mappings: [states.mapping(1, states.stick(1).id, 'kasse-01')] });
    await dialog(page).getByText('kasse-01 has joined').waitFor();
    await picture(page, 'add-till-joined');
  });
});

test('a till without a token is approved after its words were compared', async () => {
  await inFrontOf(states.everything(), {}, async (page, standin) => {
    await headline(page, '3 things need you');
    await picture(page, 'things-need-you', { fullPage: true });
    await accessible(page, 'overview with everything');
    await page.getByRole('button', { name: 'Approve' }).click();
    for (const word of ['lantern', 'copper', 'violin', 'meadow']) await dialog(page).getByText(word, { exact: true }).waitFor();
    await accessible(page, 'approving');
    await picture(page, 'approve');
    await dialog(page).getByLabel('Reason').fill('new till');
    await dialog(page).getByRole('button', { name: 'Yes, approve' }).click();
    await till(page, 'kasse-10').waitFor();
    assert.deepEqual(standin.requests.at(-1), { method: 'POST', path: '/pending/p1/approve', body: { name: 'kasse-10', stick: '', reason: 'new till' } });
    await page.getByText('kasse-10 is approved').first().waitFor();
  });
});

test('a till is dragged onto a stick; the device is in use; undo', async () => {
  await inFrontOf(states.everything(), { height: 1400 }, async (page, standin) => {
    const stick = states.stick(4);
    await drag(page, till(page, 'kasse-04'), stickRow(page, stick.serial));
    await until(() => standin.requests.some(({ path }) => path === '/mappings'), 'a mapping is asked for');
    assert.equal(standin.requests.at(-1).body.stick, stick.id);
    assert.equal(standin.requests.at(-1).body.till, 'kasse-04');
    await stickRow(page, stick.serial).getByText('kasse-04').waitFor();
    standin.change({ leases: [states.lease(40, stick.id, 'kasse-04')], sticks: [{ ...stick, state: 'in_use', lease: 40 }] });
    await stickRow(page, stick.serial).getByText('In use').waitFor();
    await page.getByRole('button', { name: 'Undo' }).click();
    await stickRow(page, stick.serial).getByText('Not mapped').waitFor();
  });
});

test('a drag scrolls to what is out of the window, and a name is where one takes hold', async () => {
  await inFrontOf(states.everything(), { height: 700 }, async (page, standin) => {
    await page.evaluate(() => scrollTo(0, 200));
    const from = await till(page, 'kasse-04').getByText('kasse-04').boundingBox(), target = stickRow(page, states.stick(4).serial);
    await page.mouse.move(from.x + 20, from.y + 8);
    await page.mouse.down();
    await page.mouse.move(400, 600, { steps: 4 });
    await page.mouse.move(400, 690, { steps: 4 });
    await until(async () => (await target.boundingBox()).y < 600, 'the row comes into the window');
    await page.mouse.move(400, 400); // away from the edge: it scrolls no further
    const to = await target.boundingBox();
    await page.mouse.move(400, to.y + 20, { steps: 3 });
    await page.mouse.up();
    await target.getByText('kasse-04').waitFor();
    assert.equal(standin.requests.length, 1);
    assert.equal(await dialog(page).count(), 0, 'the release is no click on the name');
  });
});

test('a stick is dragged onto a till; one that is mapped already asks what is meant', async () => {
  await inFrontOf(states.everything(), {}, async (page, standin) => {
    await drag(page, stickRow(page, 'TSE Bakery, left').locator('.grip'), till(page, 'kasse-04'));
    await dialog(page).getByText('This stick has 3 mappings already').waitFor();
    assert.equal(await dialog(page).getByLabel('Till', { exact: true }).inputValue(), 'kasse-04');
    await accessible(page, 'mapping');
    await picture(page, 'map-dialog');
    await dialog(page).getByText('In addition, as the first').click();
    await dialog(page).getByRole('button', { name: 'Map', exact: true }).click();
    await until(() => standin.requests.length === 1, 'a mapping is asked for');
    const { also, position } = standin.requests[0].body;
    assert.deepEqual({ also, position }, { also: true, position: 1 });
  });
});

test('a drag that Escape ends, and one that ends beside a stick, change nothing', async () => {
  await inFrontOf(states.everything(), { height: 1400 }, async (page, standin) => {
    const from = await till(page, 'kasse-04').boundingBox(), to = await stickRow(page, states.stick(4).serial).boundingBox();
    await page.mouse.move(from.x + 150, from.y + 12);
    await page.mouse.down();
    await page.mouse.move(to.x + 300, to.y + 20, { steps: 5 });
    await page.locator('.drop-here').waitFor();
    await picture(page, 'dragging');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.ghost').count(), 0);
    await page.mouse.up();
    await drag(page, till(page, 'kasse-04'), page.locator('#headline'));
    assert.deepEqual(standin.requests, []);
  });
});

test('mapping with the keyboard alone', async () => {
  await inFrontOf(states.everything(), {}, async (page, standin) => {
    for (let tabs = 0; tabs < 60 && !await page.evaluate(() => document.activeElement.getAttribute('role') === 'row'); ++tabs) await page.keyboard.press('Tab');
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    for (let down = 0; down < 20 && !(await focused()).includes(states.stick(4).serial); ++down) {
      const before = await focused();
      await page.keyboard.press('ArrowDown');
      await until(async () => await focused() !== before, 'the next row');
    }
    await picture(page, 'keyboard-focus');
    await page.keyboard.press('m');
    await dialog(page).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.name), 'till', 'the focus is where the choice is');
    await page.keyboard.type('Till 4');
    await page.keyboard.press('Enter'); // a select takes it in some browsers, the form in others
    if (await dialog(page).isVisible()) {
      for (let tabs = 0; tabs < 12 && await page.evaluate(() => document.activeElement.type !== 'submit'); ++tabs) await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
    }
    await stickRow(page, states.stick(4).serial).getByText('kasse-04').waitFor();
    assert.equal(standin.requests.length, 1);
    await until(async () => (await focused()).includes(states.stick(4).serial), 'the focus is back on the row');
    // folding, the menu, and back
    await page.keyboard.press('ArrowRight');
    await page.locator('.row-till').filter({ hasText: 'kasse-04' }).waitFor();
    await page.keyboard.press('Shift+F10');
    await page.getByRole('menu').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await page.keyboard.press('ArrowLeft');
    await page.locator('.row-till').waitFor({ state: 'detached' });
  });
});

test('the order of several mappings is seen and changed', async () => {
  await inFrontOf(states.everything(), {}, async (page) => {
    await page.getByRole('button', { name: 'Unfold TSE Bakery, left' }).click();
    const order = () => page.locator('.row-till .strong').allInnerTexts();
    await until(async () => (await order()).join() === 'kasse-01,kasse-05,kasse-08', 'the order');
    await picture(page, 'order-of-mappings');
    await page.locator('.row-till').nth(1).getByRole('button', { name: /Actions/ }).click();
    await page.getByRole('menuitem', { name: 'Look at it later' }).click();
    await until(async () => (await order()).join() === 'kasse-01,kasse-08,kasse-05', 'the new order');
    await page.getByRole('button', { name: 'Unfold TSE Garden' }).click();
    await page.getByText('from the file').waitFor();
  });
});

test('ending a use, with a block and a reason; a refusal of the server is shown where it was asked for', async () => {
  await inFrontOf(states.everything(), { expected: [/status of 409/] }, async (page, standin) => {
    await page.getByRole('button', { name: 'Actions for TSE Bakery, left' }).click();
    await picture(page, 'menu');
    await accessible(page, 'menu');
    await page.getByRole('menuitem', { name: 'End this use' }).click();
    await dialog(page).getByLabel('Block the stick afterwards').selectOption('15');
    await dialog(page).getByLabel('Reason').fill('stick is exchanged');
    await picture(page, 'end-lease');
    standin.refusal = [409, 'changed', 'The lease has ended meanwhile.', 'Look at the list again.'];
    await dialog(page).getByRole('button', { name: 'End it' }).click();
    await dialog(page).getByRole('alert').filter({ hasText: 'Look at the list again.' }).waitFor();
    standin.refusal = null;
    await dialog(page).getByRole('button', { name: 'End it' }).click();
    await stickRow(page, 'TSE Bakery, left').getByText('Blocked').waitFor();
    assert.deepEqual(standin.requests.at(-1).body, { block_minutes: 15, reason: 'stick is exchanged' });
  });
});

test('p99 moves, and the line with it', async () => {
  await inFrontOf(states.shop(3), {}, async (page, standin) => {
    const words = () => page.locator('.sparkline').first().getAttribute('aria-label'), first = await words();
    await until(async () => await words() !== first, 'other latencies');
    standin.work = (lease) => Object.assign(lease, { transfers: lease.transfers + 1, p50_us: 900, p99_us: 48200 });
    await page.getByText('48.2 ms').first().waitFor();
    await until(async () => (await page.locator('.sparkline .p99').first().getAttribute('d')).split('L').length > 6, 'a line of several points');
    await picture(page, 'all-is-well');
    await accessible(page, 'overview');
  });
});

test('events come in live; German; dark', async () => {
  await inFrontOf(states.everything(), { language: 'de-AT', dark: true }, async (page, standin) => {
    await headline(page, '3 Sachen warten auf Sie');
    standin.log({ kind: 'lease_begun', text: 'lease begun', stick: states.stick(1).id, till: 'kasse-01', who: 'till kasse-01' });
    standin.log({ kind: 'alarm_raised', level: 'warning', text: 'the stick is refused', stick: states.stick(5).id });
    await page.getByRole('log').getByText('Benutzung begonnen').waitFor();
    for (const word of ['Kasse hinzufügen', 'Zuordnen', 'In Benutzung']) assert.ok(await page.getByText(word).count() > 0, word);
    const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.match(paper, /rgb\(14, 20, 23\)/);
    await accessible(page, 'German, dark');
    await picture(page, 'german-dark', { fullPage: true });
    await page.getByRole('button', { name: /^kasse-01/ }).click();
    await accessible(page, 'details of a till, dark');
    await picture(page, 'till-details-german-dark');
    await page.keyboard.press('Escape');
    // both have a switch that is remembered
    await page.getByRole('button', { name: 'Sprache: DE' }).click();
    await page.getByRole('menuitemradio', { name: 'English' }).click();
    await headline(page, '3 things need you');
    await page.getByRole('button', { name: 'Appearance' }).click();
    await page.getByRole('menuitemradio', { name: 'Light' }).click();
    await page.reload();
    await headline(page, '3 things need you');
    assert.match(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), /rgb\(243, 245, 246\)/);
  });
});

test('on a phone, 360 pixels wide', async () => {
  await inFrontOf(states.everything(), { width: 360, height: 740, touch: true }, async (page, standin) => {
    await fits(page, 'overview');
    await accessible(page, 'phone');
    await picture(page, 'phone-top');
    await page.locator('.row-stick').first().scrollIntoViewIfNeeded();
    await picture(page, 'phone-sticks');
    await page.getByRole('button', { name: 'Actions for TSE Bakery, left' }).tap();
    await picture(page, 'phone-menu');
    await page.getByRole('menuitem', { name: 'Map to a till' }).tap();
    await fits(page, 'dialog');
    await picture(page, 'phone-map');
    await dialog(page).getByRole('button', { name: 'Cancel' }).tap();
    await page.getByRole('button', { name: 'Add till' }).tap();
    await dialog(page).getByLabel('Name of the till').fill('kasse-11');
    await dialog(page).getByRole('button', { name: 'Make the line' }).tap();
    await dialog(page).getByRole('timer').waitFor();
    await fits(page, 'the line');
    await picture(page, 'phone-line');
    await dialog(page).getByRole('button', { name: 'Done' }).tap();
    await page.getByRole('link', { name: 'Audit' }).tap();
    await page.getByText('Mapped').first().waitFor();
    await fits(page, 'audit');
    await accessible(page, 'audit on a phone');
    await picture(page, 'phone-audit');
    assert.ok(standin.requests.length > 0);
  });
});

test('a finger drags by the grip, and scrolls everywhere else', async () => {
  await inFrontOf(states.everything(), { width: 820, height: 1180, touch: true }, async (page, standin) => {
    const devtools = await page.context().newCDPSession(page);
    const touch = (type, x, y) => devtools.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x, y }] });
    const swipe = async (from, to) => {
      await touch('touchStart', from.x, from.y);
      for (let step = 1; step <= 8; ++step) await touch('touchMove', from.x + (to.x - from.x) * step / 8, from.y + (to.y - from.y) * step / 8);
      await touch('touchEnd');
    };
    const middle = async (locator) => { const box = await locator.boundingBox(); return { x: box.x + box.width / 2, y: box.y + box.height / 2 }; };
    await stickRow(page, states.stick(4).serial).scrollIntoViewIfNeeded();
    await till(page, 'kasse-04').scrollIntoViewIfNeeded();
    const row = await middle(stickRow(page, states.stick(4).serial));
    await swipe(await middle(till(page, 'kasse-04').locator('.grip')), row);
    await until(() => standin.requests.length === 1, 'a mapping is asked for');
    assert.equal(standin.requests[0].body.stick, states.stick(4).id);
    const before = await page.evaluate(() => scrollY);
    await swipe({ x: row.x, y: 300 }, { x: row.x, y: 700 });
    await until(async () => await page.evaluate(() => scrollY) < before, 'the page scrolls');
    assert.equal(standin.requests.length, 1);
  });
});

test('64 sticks: dense, found by typing, filtered', async () => {
  await inFrontOf(states.cupboard(), {}, async (page) => {
    await headline(page, 'All 58 connected tills have their stick');
    assert.equal(await page.locator('.row-stick').count(), 64);
    const height = (await page.locator('.row-stick').nth(3).boundingBox()).height;
    assert.ok(height <= 36, `a row is ${height} pixels high`);
    await until(async () => (await page.locator('.sparkline .p99').first().getAttribute('d')).split('L').length > 4, 'lines');
    await picture(page, 'cupboard');
    await picture(page, 'cupboard-whole', { fullPage: true });
    await page.getByLabel('Find a stick, till, serial number').fill('kasse-17');
    await until(async () => await page.locator('.row-stick').count() === 1, 'one stick fits');
    await page.getByLabel('Find a stick, till, serial number').fill('');
    await page.getByRole('button', { name: /^Not mapped/ }).click();
    await until(async () => await page.locator('.row-stick').count() === 2, 'two are not mapped');
  });
});

test('hostile names stay text, in their place', async () => {
  for (const [width, height] of [[1440, 960], [360, 740]]) {
    await inFrontOf(states.hostileNames(), { width, height }, async (page) => {
      await headline(page, '6 things need you');
      await fits(page, `hostile names at ${width}`);
      assert.equal(await page.locator('img[src="x"]').count(), 0);
      assert.ok(await page.getByText(states.hostile.markup).count() > 0, 'the name is shown as it is written');
      assert.doesNotMatch(await page.evaluate(() => document.body.innerText), /[\u202a-\u202e\u2066-\u2069]/, 'no direction mark gets onto the page');
      assert.ok(await page.evaluate(() => [...document.querySelectorAll('.need')].every((need) => need.offsetHeight < 420)), 'no card grows without end');
      await accessible(page, `hostile names at ${width}`);
      await picture(page, `hostile-names-${width}`, { fullPage: true });
      await page.locator('.till').first().getByRole('button').first().click();
      await fits(page, 'details of a till with a hostile name');
      await picture(page, `hostile-till-${width}`);
    });
  }
});

test('the connection is lost, said so, and comes back with what happened meanwhile', async () => {
  await inFrontOf(states.shop(3), { expected: [/Failed to load resource/, /ERR_/] }, async (page, standin) => {
    await headline(page, 'All 3 tills');
    await standin.stop();
    await page.getByRole('alert').filter({ hasText: 'Connection to the server lost' }).waitFor();
    await accessible(page, 'connection lost');
    await picture(page, 'connection-lost');
    Object.assign(standin.state, states.shop(2), { version: 1 }); // it was started anew, and a till went
    await standin.start();
    await headline(page, 'All 2 tills');
    await page.getByRole('alert').waitFor({ state: 'detached' });
  });
});

test('an event that was missed is noticed', async () => {
  await inFrontOf(states.shop(3), {}, async (page, standin) => {
    await headline(page, 'All 3 tills');
    standin.state.version += 5;
    standin.state.sticks[0].label = 'Changed unseen';
    standin.change({ server: { draining: true } });
    await stickRow(page, 'Changed unseen').waitFor();
    await page.getByText('Maintenance: no new use begins').waitFor();
    await picture(page, 'maintenance');
  });
});

test('a session that ended leads to the login, and nothing of it stays on the screen', async () => {
  await inFrontOf(states.shop(3), { expected: [/status of 401/] }, async (page, standin) => {
    standin.loggedIn = false;
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByText('Your session has ended').waitFor();
    assert.equal(await page.getByText('kasse-01').count(), 0);
  });
});

test('a viewer sees everything and is offered nothing to change', async () => {
  await inFrontOf(states.everything(), { standin: { role: 'viewer' } }, async (page) => {
    await headline(page, '3 things need you');
    for (const name of ['Add till', 'Approve', 'Map…', 'Accept as it is', 'End']) assert.equal(await page.getByRole('button', { name }).count(), 0, name);
    await page.getByRole('button', { name: 'Actions for TSE Bakery, left' }).click();
    assert.deepEqual(await page.getByRole('menuitem').allInnerTexts(), ['Export its audit log']);
    assert.equal(await page.getByRole('link', { name: 'Users' }).count(), 0);
  });
});

test('the audit log: filters, verification, export', async () => {
  await inFrontOf(states.everything(), {}, async (page) => {
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByText('moved to the bakery').waitFor();
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('The log is intact: 4,711 entries').waitFor();
    await accessible(page, 'audit');
    await picture(page, 'audit');
    await page.getByLabel('Till').selectOption('kasse-02');
    await page.getByText('moved to the bakery').waitFor({ state: 'detached' });
    await page.getByLabel('Stick').selectOption(states.stick(2).id);
    await page.locator('a[href="/api/v1/audit/export?stick=1209%3A0001%3A5A2F00000002"]').filter({ hasText: 'Export' }).waitFor();
  });
});

test('users are added', async () => {
  await inFrontOf(states.everything(), {}, async (page, standin) => {
    await page.getByRole('link', { name: 'Users' }).click();
    await page.getByText('ben').waitFor();
    await accessible(page, 'users');
    await picture(page, 'users');
    await page.getByRole('button', { name: 'Add user' }).click();
    await dialog(page).getByLabel('Name').fill('carla');
    await dialog(page).getByLabel('Password').fill('three words are fine');
    await dialog(page).getByRole('button', { name: 'Add user' }).click();
    await page.locator('.user').filter({ hasText: 'carla' }).waitFor();
    assert.equal(standin.requests.at(-1).body.role, 'viewer');
  });
});
