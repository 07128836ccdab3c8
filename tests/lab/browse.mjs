// A person with a real browser: headless Chromium that walks through a provider's pages.
//
//   node browse.mjs [--option=value ...] URL
//
// The address is the last argument, so that gatepass can be told `browser = ["node", "browse.mjs", "--user=alice"]`.
// Options, each also as an environment variable GATEPASS_LAB_<NAME>:
//   --user=NAME        what is typed into the sign-in form          (alice)
//   --password=WORD    and as its password             (not-checked-here)
//   --code=CODE        what is typed where a device code is asked   (none)
//   --refuse=STEP      `now`: cancels on the first page; `consent`: signs in, then cancels
//   --abandon=1        opens the page, does nothing and goes away: a person who closes the tab
//   --pause=MS         how long the person thinks before the first click
//   --profile=DIR      the browser's profile, kept: signed-in people stay signed in   (a fresh one, removed)
//   --shots=DIR        a picture of every page
//   --inspect=PREFIX   looks at the last page on a phone and on a desk, light and dark: a picture of each under
//                      PREFIX-WIDTH-SCHEME.png, whether it scrolls sideways, and what axe-core finds wrong
//   --timeout=MS       how long the whole walk may take              (60000)
//   --result=FILE      what was seen, as JSON: see `result` below
//
// Pages are told apart by what is on them, not by who made them: text fields are filled in, the first submit
// button that does not refuse is pressed, and a page without anything to press is the end of the walk.

import { mkdtempSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { chromium } from 'playwright-core';

const REFUSAL = /abort|cancel|refuse|reject|deny|decline|\bno\b/i;
const FIELDS = 'input:not([type]), input[type=text], input[type=email], input[type=password]';
const BUTTONS = 'button[type=submit], button:not([type]), input[type=submit]';
const MOST_PAGES = 12;

const given = Object.fromEntries(process.argv.slice(2, -1).map((argument) => {
  const [, name, value] = /^--([a-z]+)=(.*)$/s.exec(argument) ?? [];
  if (!name) throw new Error(`not an option: ${argument}`);
  return [name, value];
}));
const option = (name, fallback) => given[name] ?? process.env[`GATEPASS_LAB_${name.toUpperCase()}`] ?? fallback;
const address = process.argv.at(-1);

const result = {
  opened: address,
  url: null, // the last page's address,
  title: null, // title,
  text: null, // visible text,
  html: null, // source,
  status: null, // and HTTP status
  headers: {}, // and the headers it came with
  console: [], // errors and warnings: {type, text, from}
  visited: [], // every address the main frame asked for, redirects included
  back: [], // what the back button would offer on the last page
  profileHasCode: null, // whether the profile's history file names an authorization code
  inspected: [], // {width, scheme, scrolls, violations, lang, headings, status} of each look at the last page
  external: [], // requests that would have left this machine, the provider's own web fonts among them
  error: null, // why the walk ended early
  milliseconds: null,
};
const started = Date.now();
const ends = started + Number(option('timeout', 60_000));
const left = () => Math.max(1, ends - Date.now());

const home = mkdtempSync(join(tmpdir(), 'gatepass-browser-'));
const profile = option('profile', join(home, 'profile'));
const shots = option('shots');
if (shots) mkdirSync(shots, { recursive: true });

const isLoopback = (url) => /^(https?:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/]|data:|blob:|about:|chrome)/.test(url);

async function buttons(page) {
  const found = [];
  for (const one of await page.locator(BUTTONS).all()) {
    if (!await one.isVisible() || !await one.isEnabled()) continue;
    const about = await one.evaluate((e) => [e.name, e.value, e.textContent, e.id, e.form?.action].join(' '));
    found.push({ one, refuses: REFUSAL.test(about) });
  }
  return found;
}

async function refusal(page) {
  const button = (await buttons(page)).find((b) => b.refuses);
  if (button) return button.one;
  const link = page.locator('a').filter({ hasText: REFUSAL }).first();
  return await link.count() ? link : null;
}

async function fill(page) {
  let credentials = false;
  for (const field of await page.locator(FIELDS).all()) {
    if (!await field.isVisible() || !await field.isEditable()) continue;
    const about = await field.evaluate((e) => [e.name, e.id, e.placeholder, e.autocomplete].join(' '));
    if (/code/i.test(about)) {
      const code = option('code', await field.inputValue());
      if (!code) throw new Error('the page asks for a code and none was given');
      await field.fill(code);
    } else {
      credentials = true;
      const secret = await field.getAttribute('type') === 'password';
      await field.fill(secret ? option('password', 'not-checked-here') : option('user', 'alice'));
    }
  }
  return credentials;
}

// A page may still be on its way somewhere else (redirects, a form that posts itself).
async function settle(page) {
  for (let before = null; before !== page.url(); await page.waitForTimeout(60)) {
    before = page.url();
    await page.waitForLoadState('load', { timeout: left() });
  }
}

function mustHaveLoaded(page) {
  if (page.url().startsWith('chrome-error:')) throw new Error(`the browser could not load ${result.visited.at(-1)}`);
}

// Presses and waits until a new document is there.
async function press(page, what) {
  const arrived = page.waitForEvent('domcontentloaded', { timeout: left() });
  await what.click({ timeout: left(), noWaitAfter: true });
  await arrived;
  await settle(page);
  mustHaveLoaded(page);
}

async function walk(page) {
  const refuse = option('refuse');
  let signedIn = false;
  for (let step = 0; step < MOST_PAGES; step += 1) {
    if (shots) await page.screenshot({ path: join(shots, `${step}.png`) });
    const choices = await buttons(page);
    const onward = choices.find((b) => !b.refuses)?.one;
    if (!onward) return;
    if (step === 0) await page.waitForTimeout(Number(option('pause', 0)));
    const cancel = await refusal(page);
    if (cancel && (refuse === 'now' || (refuse === 'consent' && signedIn))) {
      await press(page, cancel);
      if (shots) await page.screenshot({ path: join(shots, `${step + 1}.png`) });
      return;
    }
    signedIn = await fill(page) || signedIn;
    await press(page, onward);
  }
  throw new Error(`still not done after ${MOST_PAGES} pages`);
}

async function describe(page, context) {
  result.url = page.url();
  result.title = await page.title();
  result.text = (await page.locator('body').innerText()).trim();
  if (!result.url.startsWith('chrome-error:')) result.html = await page.content();
  const devtools = await context.newCDPSession(page);
  const { entries, currentIndex } = await devtools.send('Page.getNavigationHistory');
  result.back = entries.slice(0, currentIndex + 1).map((e) => e.url);
}

// Accessibility, measured by the engine that browsers' own audits use. It is evaluated by the debugger, not loaded by
// the page, so the page's own policy stays in force.
async function inspect(page, prefix) {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.evaluate(axe);
  mkdirSync(dirname(prefix), { recursive: true });
  for (const width of [320, 1280]) {
    for (const scheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height: 720 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.screenshot({ path: `${prefix}-${width}-${scheme}.png`, fullPage: true });
      result.inspected.push({ width, scheme, ...await page.evaluate(async () => {
        const { violations, passes } = await globalThis.axe.run(document);
        return {
          scrolls: document.documentElement.scrollWidth > innerWidth,
          violations: violations.map(({ id, help, nodes }) => ({ id, help, html: nodes.map((n) => n.html) })),
          passes: passes.map(({ id }) => id),
          lang: document.documentElement.lang,
          background: getComputedStyle(document.body).backgroundColor,
          headings: [...document.querySelectorAll('h1')].map((e) => e.textContent),
          status: document.querySelector('main [role=status]')?.innerText ?? null,
        };
      }) });
    }
  }
}

// Chromium leaves this process's group; by this mark the test kit finds it where it has outlived this process.
const mark = option('result') && { GATEPASS_LAB_PERSON: dirname(option('result')) };

// One that does not come up in its time is ended, and a fresh one started, once.
async function launch(timeout) {
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.GATEPASS_LAB_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    timeout,
    env: { ...process.env, ...mark, HOME: home, XDG_CONFIG_HOME: join(home, 'config'), XDG_CACHE_HOME: join(home, 'cache') },
    args: [
      ...sandbox,
      '--no-first-run',
      '--disable-sync',
      '--disable-component-update',
      '--disable-background-networking',
      // Nothing in the lab is farther away than this machine.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE [::1]',
    ],
  });
}

let context;
try {
  context = await launch(Math.min(left(), 25_000)).catch((error) => {
    process.stderr.write(`browse: Chromium did not come up, a fresh one is started: ${error?.message ?? error}\n`);
    return launch(left());
  });
  context.setDefaultTimeout(left());
  const page = context.pages()[0] ?? await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) {
      result.console.push({ type: message.type(), text: message.text(), from: message.location().url });
    }
  });
  page.on('pageerror', (error) => result.console.push({ type: 'exception', text: String(error), from: page.url() }));
  page.on('request', (request) => {
    if (!isLoopback(request.url())) result.external.push(request.url());
    if (request.isNavigationRequest() && request.frame() === page.mainFrame()) result.visited.push(request.url());
  });
  page.on('response', (response) => {
    const request = response.request();
    if (request.isNavigationRequest() && request.frame() === page.mainFrame()) {
      result.status = response.status();
      result.headers = response.headers();
    }
  });

  await page.goto(address, { timeout: left(), waitUntil: 'load' });
  await settle(page);
  if (option('abandon')) await page.waitForTimeout(Number(option('pause', 0)));
  else await walk(page);
  await describe(page, context);
  if (option('inspect')) await inspect(page, option('inspect'));
} catch (error) {
  result.error = String(error?.message ?? error);
  const page = context?.pages()[0];
  if (page) await describe(page, context).catch(() => {});
} finally {
  await context?.close();
  // Chromium writes its history when it ends.
  const history = join(profile, 'Default', 'History');
  if (existsSync(history)) result.profileHasCode = /[?&]code=/.test(readFileSync(history, 'latin1'));
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  result.milliseconds = Date.now() - started;
  const file = option('result');
  if (file) {
    writeFileSync(`${file}.part`, JSON.stringify(result, null, 1));
    renameSync(`${file}.part`, file);
  }
  if (result.error) process.stderr.write(`browse: ${result.error}\n`);
}
process.exit(result.error ? 1 : 0);
